// SPDX-License-Identifier: Apache-2.0
/** What reaches a GPU: NVIDIA's driver, its compiler and its libraries, found and called by address. No API. */
@NullMarked
package dev.merapi.cuda.driver;

import org.jspecify.annotations.NullMarked;
