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
        /**
         * The value, as an expression that is differentiated no further: the rule does that.
         *
         * @param operands as many as the function's arity
         * @return what it computes
         */
        Expr apply(List<Expr> operands);
    }

    /** The gradient of each operand; null where it is zero everywhere. Must be linear in {@code gradient}. */
    @FunctionalInterface
    public interface Rule {
        /**
         * What reaches each operand. The rule is itself differentiated for higher orders.
         *
         * @param operands what the function was called with
         * @param result the value, to be used where that is cheaper than computing it again
         * @param gradient of the value; the rule must be linear in it
         * @return one expression for each operand, null where its gradient is zero everywhere
         */
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

    /**
     * Define a function once and keep it: two functions are equal only if they are the same object.
     *
     * @param name what texts and errors call it; it need not be unique
     * @param arity how many operands it takes
     * @param body what it computes
     * @param rule the gradients of its operands
     * @return the function
     */
    public static NamedFunction define(String name, int arity, Body body, Rule rule) {
        return new NamedFunction(name, arity, body, rule);
    }

    /** {@return what texts and errors call it} */
    public String name() {
        return name;
    }

    /**
     * The function applied; throws IllegalArgumentException if the number of operands is wrong.
     *
     * @param operands as many as its arity
     * @return an expression that is computed as the body, and differentiated by the rule
     * @throws IllegalArgumentException if there are more operands or fewer
     */
    public Expr call(Expr... operands) {
        return call(List.of(operands));
    }

    /**
     * The function applied.
     *
     * @param operands as many as its arity
     * @return an expression that is computed as the body, and differentiated by the rule
     * @throws IllegalArgumentException if there are more operands or fewer
     */
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
