// SPDX-License-Identifier: Apache-2.0
/**
 * What a training program has besides its model: the loop around a step ({@code Trainer}), the folder of its run, checkpoints to
 * go on from, a record of its numbers, and an end in time. Each works alone.
 */
@NullMarked
package dev.merapi.train;

import org.jspecify.annotations.NullMarked;
