// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Losses.Reduction;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.Objects;

/**
 * Negative logarithms of likelihoods: of counts, and of numbers whose variance is predicted with them. Compositions of other
 * ops, so they have gradients of every order and run on every device. Names, defaults and values are PyTorch's.
 */
public final class LikelihoodLosses {
    private LikelihoodLosses() {}

    /**
     * Of counts that a Poisson process gives: exp(x) − y·x, or x − y·log(x + eps).
     *
     * @param x the expected count, or its logarithm
     * @param y counts, of the same shape
     * @param logInput whether x is a logarithm; true in PyTorch
     * @param full whether Stirling's term for log y! counts, which has no gradient to x; false in PyTorch
     * @param eps keeps the logarithm of 0 away; 1e-8 in PyTorch
     * @param reduction what becomes of the losses of single elements
     * @return of the shape of x for NONE, else 0-d
     * @throws ShapeException if the shapes differ
     */
    public static Tensor poissonNllLoss(
            Tensor x, Tensor y, boolean logInput, boolean full, double eps, Reduction reduction) {
        String op = "poissonNllLoss";
        Form.requireNotNegative(op, "eps", eps);
        Losses.requireSame(op, "x", x, "y", y);
        Tensor each = logInput ? x.exp().sub(y.mul(x)) : x.sub(y.mul(x.add(eps).log()));
        if (full) {
            Tensor safe = y.clampMin(1); // where the term counts nothing changes, and elsewhere no logarithm of 0
            Tensor stirling = safe.mul(safe.log())
                    .sub(safe)
                    .add(safe.mul(2 * Math.PI).log().mul(0.5));
            each = each.add(stirling.where(y.gt(1), 0));
        }
        return Losses.reduce(each, reduction);
    }

    /**
     * The mean, for logarithms of expected counts.
     *
     * @param x logarithms of expected counts
     * @param y counts, of the same shape
     * @return the mean, 0-d
     */
    public static Tensor poissonNllLoss(Tensor x, Tensor y) {
        return poissonNllLoss(x, y, true, false, 1e-8, Reduction.MEAN);
    }

    /**
     * Of numbers around a mean with a variance: (log v + (x − y)²/v)/2, where v is the variance and at least
     * {@code eps}.
     *
     * @param x the predicted means
     * @param y the numbers, of the same shape
     * @param variance of that shape, or with a last dimension of 1, or without it: then one variance for all of them.
     *     A negative one, which PyTorch refuses, gives NaN: to look at it would make a device wait
     * @param full whether log(2π)/2 counts; false in PyTorch
     * @param eps positive; 1e-6 in PyTorch. The gradient is as if it were not there
     * @param reduction what becomes of the losses of single elements
     * @return of the shape of x for NONE, else 0-d
     * @throws ShapeException if the shapes do not fit
     */
    public static Tensor gaussianNllLoss(
            Tensor x, Tensor y, Tensor variance, boolean full, double eps, Reduction reduction) {
        String op = "gaussianNllLoss";
        Form.requireNumber(op, "eps", eps, Double.MIN_VALUE, Double.MAX_VALUE);
        Losses.requireSame(op, "x", x, "y", y);
        Tensor given = Objects.requireNonNull(variance, "variance");
        if (!given.shape().equals(x.shape()) && given.rank() == x.rank() - 1) {
            given = given.unsqueeze(-1);
        }
        boolean fits = given.rank() == x.rank();
        for (int d = 0; fits && d < x.rank(); d++) {
            fits = given.size(d) == x.size(d) || d == x.rank() - 1 && given.size(d) == 1;
        }
        if (!fits) {
            Shape all = x.shape();
            throw new ShapeException(Message.of(op + ": the variance must be " + all
                            + ", or have a last dimension of 1, or none, but is " + variance.describe())
                    .fact("x", x.describe())
                    .fix("reshape it."));
        }
        Tensor valid = given.where(given.ge(0), Double.NaN);
        Tensor v = valid.add(valid.clampMin(eps).sub(valid).detach());
        Tensor each = v.log().add(x.sub(y).square().div(v)).mul(0.5);
        return Losses.reduce(full ? each.add(0.5 * Math.log(2 * Math.PI)) : each, reduction);
    }

    /**
     * The mean, with an eps of 1e-6.
     *
     * @param x the predicted means
     * @param y the numbers, of the same shape
     * @param variance of that shape, or with a last dimension of 1, or without it
     * @return the mean, 0-d
     */
    public static Tensor gaussianNllLoss(Tensor x, Tensor y, Tensor variance) {
        return gaussianNllLoss(x, y, variance, false, 1e-6, Reduction.MEAN);
    }
}
