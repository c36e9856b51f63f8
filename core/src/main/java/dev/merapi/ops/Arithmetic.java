// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.expr.Expr;

/** Arithmetic of tensors with tensors and with scalars. */
public final class Arithmetic {
    private Arithmetic() {}

    public static final PointwiseOp ADD = Pointwise.define("merapi::add", Expr::add);
    public static final PointwiseOp SUB = Pointwise.define("merapi::sub", Expr::sub);
    public static final PointwiseOp MUL = Pointwise.define("merapi::mul", Expr::mul);
    public static final PointwiseOp DIV = Pointwise.define("merapi::div", Expr::div);
    public static final PointwiseOp ADD_SCALAR = Pointwise.define("merapi::add_scalar", Expr::add, Param.scalar("s"));
    public static final PointwiseOp MUL_SCALAR = Pointwise.define("merapi::mul_scalar", Expr::mul, Param.scalar("s"));
    public static final PointwiseOp FILL =
            Pointwise.define("merapi::fill", (x, value) -> value, Param.scalar("value"));
    public static final PointwiseOp NE = Pointwise.define("merapi::ne", Expr::ne);
}
