// SPDX-License-Identifier: Apache-2.0
/** What a training program has besides its model: the folder of its run, and a record of its numbers. */
@NullMarked
package dev.merapi.train;

import org.jspecify.annotations.NullMarked;
