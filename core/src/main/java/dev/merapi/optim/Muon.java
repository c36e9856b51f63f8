// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.ops.StepOp;
import dev.merapi.ops.Steps;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.StateReader;
import dev.merapi.tensor.Tensor;
import dev.merapi.tensor.Trainable;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Steps of matrices along their momentum with all singular values brought near 1, by a few Newton–Schulz iterations: for the
 * weights of hidden layers. Biases, gains and embeddings belong to an {@link AdamW} beside it. As {@code torch.optim.Muon},
 * but that products are in the compute dtype, float32 or float64, where PyTorch's are in bfloat16.
 *
 * <p>Matrices of one shape go through the iterations together. Memory: one state beside each parameter.
 *
 * @see <a href="https://kellerjordan.github.io/posts/muon/">Jordan et al. 2024</a>
 * @see <a href="https://arxiv.org/abs/2502.16982">Liu et al. 2025: Muon is scalable for LLM training</a>
 */
public final class Muon extends Optimizer {
    /** What steps are multiplied by, for a matrix of so many rows and columns. */
    public enum Scaling {
        /** √max(1, rows / columns), as Jordan has it. */
        ORIGINAL,
        /** 0.2 · √max(rows, columns): steps as large as AdamW's, with AdamW's rates and decays. */
        MATCH_RMS_ADAMW;

        double of(Shape matrix) {
            double rows = matrix.size(0);
            double columns = matrix.size(1);
            return this == ORIGINAL ? Math.sqrt(Math.max(1, rows / columns)) : 0.2 * Math.sqrt(Math.max(rows, columns));
        }
    }

    /** Coefficients of the polynomial a·x + b·x³ + c·x⁵, the steepest at 0 that keeps singular values near 1. */
    private static final double A = 3.4445;

    private static final double B = -4.7750;
    private static final double C = 2.0315;
    /** The least norm that a matrix is divided by. */
    private static final double EPS = 1e-7;

    private final Scaling scaling;
    private double momentum;
    private boolean nesterov;
    private long iterations;

    /**
     * With PyTorch's numbers: decay 0.1, momentum 0.95 (Nesterov's), 5 iterations.
     *
     * @param params matrices: parameters of a model, or leaves that require a gradient
     * @param lr the learning rate; PyTorch's default is 1e-3
     */
    public Muon(List<? extends Trainable> params, double lr) {
        this(params, lr, 0.1, 0.95, true, 5, Scaling.ORIGINAL);
    }

    /**
     * b ← μ · b + (1 − μ) · g, p ← (1 − lr · weightDecay) · p − lr · scaling · NS(b, or μ · b + (1 − μ) · g).
     *
     * @param params matrices: parameters of a model, or leaves that require a gradient
     * @param lr the learning rate
     * @param weightDecay what times {@code lr} and the parameter is taken from it in each step
     * @param momentum μ, in [0, 1)
     * @param nesterov whether the momentum is Nesterov's
     * @param iterations of Newton and Schulz, from 1 to 99
     * @param scaling of the step
     * @throws IllegalArgumentException if a number is not as said here, or a parameter is no matrix
     */
    public Muon(
            List<? extends Trainable> params,
            double lr,
            double weightDecay,
            double momentum,
            boolean nesterov,
            int iterations,
            Scaling scaling) {
        super(params, lr, weightDecay, List.of("momentum_buffer"));
        String wrong = wrong(momentum, iterations);
        if (wrong != null) {
            throw new IllegalArgumentException("muon: " + wrong);
        }
        this.momentum = momentum;
        this.nesterov = nesterov;
        this.iterations = iterations;
        this.scaling = Objects.requireNonNull(scaling, "scaling");
    }

    private static @Nullable String wrong(double momentum, long iterations) {
        return momentum >= 0 && momentum < 1 && iterations >= 1 && iterations < 100
                ? null
                : "momentum " + momentum + " must lie in [0, 1), iterations " + iterations + " from 1 to 99";
    }

    @Override
    @Nullable
    String refused(Tensor parameter) {
        return parameter.rank() == 2 ? null : "muon steps matrices\n  fix: give it to an AdamW beside this.";
    }

    @Override
    void update(Group group, List<Tensor> grads, Tensor lr, @Nullable Tensor gradScale, @Nullable Tensor skip) {
        List<Tensor> buffers = group.states.get(0);
        List<Tensor> moved = new ArrayList<>();
        buffers.forEach(b -> moved.add(b.zerosLike()));
        (nesterov ? Steps.MUON_NESTEROV : Steps.MUON_MOMENTUM)
                .call(new StepOp.Args(
                        moved, grads, buffers, List.of(), List.of(), lr, gradScale, skip, 0, List.of(momentum)));
        Map<Shape, List<Integer>> ofShape = new LinkedHashMap<>();
        for (int i = 0; i < moved.size(); i++) {
            ofShape.computeIfAbsent(moved.get(i).shape(), s -> new ArrayList<>())
                    .add(i);
        }
        ofShape.forEach((shape, which) -> {
            if (shape.numel() > 0) {
                List<Tensor> same = which.stream().map(moved::get).toList();
                Tensor near = orthogonal(Tensor.stack(same, 0), iterations, scaling.of(shape));
                for (int k = 0; k < which.size(); k++) {
                    moved.set(which.get(k), near.at(k));
                }
            }
        });
        FormulaOptimizer.step(Steps.MUON, group, moved, lr, null, skip, List.of());
    }

    /** Matrices [k, m, n] with singular values near 1, times a number. */
    private static Tensor orthogonal(Tensor matrices, long iterations, double times) {
        boolean tall = matrices.size(1) > matrices.size(2); // the smaller product
        Tensor x = tall ? matrices.transpose(1, 2) : matrices;
        Tensor norm = x.square().sum(new int[] {1, 2}, true).sqrt();
        x = x.div(norm.clampMin(EPS));
        for (long i = 0; i < iterations; i++) {
            double scale = i == iterations - 1 ? times : 1;
            Tensor gram = x.matmul(x.transpose(1, 2));
            Tensor polynomial = gram.baddbmm(gram, gram, B, C);
            x = x.baddbmm(polynomial, x, A * scale, scale);
        }
        return tall ? x.transpose(1, 2) : x;
    }

    /**
     * μ from the next step on, as a schedule cycles it. A step that was captured has it as it was, and is refused.
     *
     * @param momentum in [0, 1)
     * @throws IllegalArgumentException if it is not
     */
    public void setMomentum(double momentum) {
        String wrong = wrong(momentum, iterations);
        if (wrong != null) {
            throw new IllegalArgumentException("muon: " + wrong);
        }
        change();
        this.momentum = momentum;
    }

    @Override
    String kind() {
        return "Muon";
    }

    @Override
    void putSettings(StateDict into) {
        into.put("momentum", momentum).put("nesterov", nesterov).put("iterations", iterations);
        into.put("scaling", scaling.name());
    }

    @Override
    Runnable readSettings(StateReader in) {
        double newMomentum = in.number("momentum");
        boolean newNesterov = in.flag("nesterov");
        long newIterations = in.integer("iterations");
        in.same("scaling", scaling.name());
        String wrong = wrong(newMomentum, newIterations);
        in.require(wrong == null, "momentum", String.valueOf(wrong));
        return () -> {
            momentum = newMomentum;
            nesterov = newNesterov;
            iterations = newIterations;
        };
    }
}
