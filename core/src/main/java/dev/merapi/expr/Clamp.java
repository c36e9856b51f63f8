// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr;

import static dev.merapi.expr.Expr.constant;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** Clamping, with PyTorch's gradients: within the bounds and on them x gets it, beyond them the bound does. */
final class Clamp {
    private static final Expr ZERO = constant(0.0);

    private static final NamedFunction BOTH =
            NamedFunction.define("clamp", 3, a -> a.get(0).max(a.get(1)).min(a.get(2)), (a, y, g) -> {
                Expr x = a.get(0);
                Expr low = a.get(1);
                Expr high = a.get(2);
                return List.of(
                        x.ge(low).and(x.le(high)).select(g, ZERO),
                        x.lt(low).and(low.le(high)).select(g, ZERO),
                        x.gt(high).or(low.gt(high)).select(g, ZERO));
            });

    private static final NamedFunction LOW = NamedFunction.define(
            "clamp_min",
            2,
            a -> a.get(0).max(a.get(1)),
            (a, y, g) -> List.of(
                    a.get(0).ge(a.get(1)).select(g, ZERO), a.get(0).lt(a.get(1)).select(g, ZERO)));

    private static final NamedFunction HIGH = NamedFunction.define(
            "clamp_max",
            2,
            a -> a.get(0).min(a.get(1)),
            (a, y, g) -> List.of(
                    a.get(0).le(a.get(1)).select(g, ZERO), a.get(0).gt(a.get(1)).select(g, ZERO)));

    private Clamp() {}

    static Expr of(Expr x, @Nullable Expr low, @Nullable Expr high) {
        if (low != null && high != null) {
            return BOTH.call(x, low, high);
        }
        if (low != null) {
            return LOW.call(x, low);
        }
        return high != null ? HIGH.call(x, high) : x;
    }
}
