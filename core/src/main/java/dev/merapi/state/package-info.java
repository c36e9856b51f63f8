// SPDX-License-Identifier: Apache-2.0
/**
 * What a run must remember to go on later: everything {@link dev.merapi.state.Stateful} gives its values by name, as a
 * {@link dev.merapi.state.StateDict}, and takes them back. Stands on nothing, so that everything can implement it.
 */
@NullMarked
package dev.merapi.state;

import org.jspecify.annotations.NullMarked;
