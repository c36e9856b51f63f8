// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr;

import dev.merapi.expr.ir.Call;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A function with a derivative rule of its own, for where differentiating the body would be unstable, wasteful or give
 * another subgradient than the one wanted.
 *
 * <pre>{@code
 * NamedFunction LOG_COSH = NamedFunction.define("log_cosh", 1,
 *     x -> abs(x.get(0)).add(softplus(abs(x.get(0)).mul(-2))).sub(Math.log(2)),
 *     (x, y, g) -> List.of(g.mul(tanh(x.get(0)))));
 * }</pre>
 */
public final class NamedFunction {
    /** What the function computes, from its operands. */
    @FunctionalInterface
    public interface Body {
        Expr apply(List<Expr> operands);
    }

    /** The gradient of each operand; null where it is zero everywhere. Must be linear in {@code gradient}. */
    @FunctionalInterface
    public interface Rule {
        List<? extends @Nullable Expr> gradients(List<Expr> operands, Expr result, Expr gradient);
    }

    private final String name;
    private final int arity;
    private final Body body;
    private final Call.Function called;

    private NamedFunction(String name, int arity, Body body, Rule rule) {
        this.name = name;
        this.arity = arity;
        this.body = body;
        this.called = new Call.Function() {
            @Override
            public Expr call(List<Expr> operands) {
                return NamedFunction.this.call(operands);
            }

            @Override
            public List<? extends @Nullable Expr> gradients(List<Expr> operands, Expr result, Expr gradient) {
                return rule.gradients(operands, result, gradient);
            }

            @Override
            public String toString() {
                return name;
            }
        };
    }

    /** Define a function once and keep it: two functions are equal only if they are the same object. */
    public static NamedFunction define(String name, int arity, Body body, Rule rule) {
        return new NamedFunction(name, arity, body, rule);
    }

    public String name() {
        return name;
    }

    /** The function applied; throws IllegalArgumentException if the number of operands is wrong. */
    public Expr call(Expr... operands) {
        return call(List.of(operands));
    }

    public Expr call(List<Expr> operands) {
        if (operands.size() != arity) {
            throw new IllegalArgumentException(
                    name + ": takes " + arity + " operands, got " + operands.size() + "\n  fix: pass " + arity);
        }
        List<Expr> copy = List.copyOf(operands);
        return Call.of(called, copy, body.apply(copy));
    }

    @Override
    public String toString() {
        return name;
    }
}
