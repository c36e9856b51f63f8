// SPDX-License-Identifier: Apache-2.0
/** Programs to read and to run: {@code scripts/train gpt}, {@code scripts/train fashion}; and a custom op. */
@NullMarked
package dev.merapi.examples;

import org.jspecify.annotations.NullMarked;
