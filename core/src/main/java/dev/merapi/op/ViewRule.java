// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.types.Layout;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Which argument's memory a view op sees, and how; null where the user's rule gave null. */
record ViewRule<A>(String argument, Function<A, ? extends @Nullable List<Layout>> layouts, boolean many) {}
