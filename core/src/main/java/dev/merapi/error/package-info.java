// SPDX-License-Identifier: Apache-2.0
/** The exception types and the one builder of their texts. Depends on nothing. */
@NullMarked
package dev.merapi.error;

import org.jspecify.annotations.NullMarked;
