// SPDX-License-Identifier: Apache-2.0
/** OpenBLAS out of its JavaCPP preset. */
@NullMarked
package dev.merapi.openblas;

import org.jspecify.annotations.NullMarked;
