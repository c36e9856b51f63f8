// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.expr.Expr;
import dev.merapi.expr.Exprs;
import java.util.ArrayList;
import java.util.List;

/** The steps of optimisers that are stated as formulas; Adam and SGD, which are used most, have kernels: {@link Optimizers}. */
public final class Steps {
    private Steps() {}

    /** sum ← sum + g², p ← p − lr / (1 + (t − 1) · lrDecay) · g / (√sum + eps), with decay in the gradient. */
    public static final StepOp ADAGRAD =
            StepOp.define("merapi::adagrad_", List.of("sum"), List.of("lr_decay", "eps"), s -> {
                Expr g = decayed(s);
                Expr sum = s.state("sum").add(g.square());
                Expr rate = s.rate()
                        .div(s.step().sub(1.0).mul(s.setting("lr_decay")).add(1.0));
                return List.of(s.parameter().sub(rate.mul(g.div(sum.sqrt().add(s.setting("eps"))))), sum);
            });

    /** v ← α · v + (1 − α) · g², p ← p − lr · g / (√v + eps), with decay in the gradient. */
    public static final StepOp RMSPROP = rmsProp("merapi::rmsprop_", false, false);

    /** The same with the variance, v less the square of the mean gradient. */
    public static final StepOp RMSPROP_CENTERED = rmsProp("merapi::rmsprop_centered_", true, false);

    /** The same with momentum. */
    public static final StepOp RMSPROP_MOMENTUM = rmsProp("merapi::rmsprop_momentum_", false, true);

    /** The same with both. */
    public static final StepOp RMSPROP_CENTERED_MOMENTUM = rmsProp("merapi::rmsprop_centered_momentum_", true, true);

    /** p ← (1 − lr · decay) · p − lr · sign(β₁ · m + (1 − β₁) · g), m ← β₂ · m + (1 − β₂) · g. */
    public static final StepOp LION =
            StepOp.define("merapi::lion_", List.of("exp_avg"), List.of("beta1", "beta2"), s -> {
                Expr m = s.state("exp_avg");
                Expr moved = mean(m, s.gradient(), s.setting("beta1"));
                return List.of(shrunk(s).sub(s.rate().mul(moved.sign())), mean(m, s.gradient(), s.setting("beta2")));
            });

    /** AdamW with the largest v so far in place of v. */
    public static final StepOp ADAMW_AMSGRAD = amsgrad("merapi::adamw_amsgrad_", true);

    /** Adam with the largest v so far in place of v. */
    public static final StepOp ADAM_AMSGRAD = amsgrad("merapi::adam_amsgrad_", false);

    /** b ← μ · b + (1 − μ) · g; the parameter becomes b. */
    public static final StepOp MUON_MOMENTUM = muonMomentum("merapi::muon_momentum_", false);

    /** The same with Nesterov's momentum: the parameter becomes μ · b + (1 − μ) · g. */
    public static final StepOp MUON_NESTEROV = muonMomentum("merapi::muon_nesterov_", true);

    /** p ← (1 − lr · decay) · p − lr · g. */
    public static final StepOp MUON = StepOp.define(
            "merapi::muon_",
            List.of(),
            List.of(),
            s -> List.of(shrunk(s).sub(s.rate().mul(s.gradient()))));

    /** The parameter, limited to [−most, most]. */
    public static final StepOp CLIP_VALUE = StepOp.define(
            "merapi::clip_value_",
            List.of(),
            List.of("most"),
            s -> List.of(Exprs.clamp(s.parameter(), s.setting("most").neg(), s.setting("most"))));

    /** Weight decay as part of the gradient. */
    private static Expr decayed(StepOp.Operands s) {
        return s.gradient().add(s.decay().mul(s.parameter()));
    }

    /** Weight decay of the parameter itself. */
    private static Expr shrunk(StepOp.Operands s) {
        return s.parameter().mul(complement(s.rate().mul(s.decay())));
    }

    /** 1 − x, of a number, in float64: what is near 1 loses its digits otherwise. */
    private static Expr complement(Expr x) {
        return x.neg().add(1.0);
    }

    private static Expr mean(Expr m, Expr g, Expr beta) {
        return m.mul(beta).add(g.mul(complement(beta)));
    }

    private static StepOp rmsProp(String name, boolean centered, boolean momentum) {
        List<String> states = new ArrayList<>(List.of("square_avg"));
        List<String> settings = new ArrayList<>(List.of("alpha", "eps"));
        if (centered) {
            states.add("grad_avg");
        }
        if (momentum) {
            states.add("momentum_buffer");
            settings.add("momentum");
        }
        return StepOp.define(name, states, settings, s -> {
            Expr g = decayed(s);
            Expr squares = mean(s.state("square_avg"), g.square(), s.setting("alpha"));
            Expr variance = squares;
            List<Expr> results = new ArrayList<>(List.of(squares));
            if (centered) {
                Expr average = mean(s.state("grad_avg"), g, s.setting("alpha"));
                results.add(average);
                variance = squares.sub(average.square());
            }
            Expr moved = g.div(variance.sqrt().add(s.setting("eps")));
            if (momentum) {
                moved = s.state("momentum_buffer").mul(s.setting("momentum")).add(moved);
                results.add(moved);
            }
            results.add(0, s.parameter().sub(s.rate().mul(moved)));
            return results;
        });
    }

    private static StepOp amsgrad(String name, boolean decoupled) {
        List<String> states = List.of("exp_avg", "exp_avg_sq", "max_exp_avg_sq");
        return StepOp.define(name, states, List.of("beta1", "beta2", "eps"), s -> {
            Expr g = decoupled ? s.gradient() : decayed(s);
            Expr m = mean(s.state("exp_avg"), g, s.setting("beta1"));
            Expr v = mean(s.state("exp_avg_sq"), g.square(), s.setting("beta2"));
            Expr most = s.state("max_exp_avg_sq").max(v);
            Expr size = s.rate().div(complement(s.setting("beta1").pow(s.step())));
            Expr inverse2 = complement(s.setting("beta2").pow(s.step())).rsqrt();
            Expr root = most.sqrt().mul(inverse2).add(s.setting("eps"));
            return List.of((decoupled ? shrunk(s) : s.parameter()).sub(size.mul(m.div(root))), m, v, most);
        });
    }

    private static StepOp muonMomentum(String name, boolean nesterov) {
        return StepOp.define(name, List.of("momentum_buffer"), List.of("momentum"), s -> {
            Expr kept = mean(s.state("momentum_buffer"), s.gradient(), s.setting("momentum"));
            return List.of(nesterov ? mean(kept, s.gradient(), s.setting("momentum")) : kept, kept);
        });
    }
}
