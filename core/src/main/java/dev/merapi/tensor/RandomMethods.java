// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.Composition;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.SchemaException;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.RandomOps;
import dev.merapi.random.Philox;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.Objects;

/**
 * Random tensors. The numbers come from the thread's generator ({@code Context.current().generator()}), which moves on by
 * what a call takes, and do not depend on devices or the number of threads.
 */
public abstract sealed class RandomMethods extends SearchMethods permits DataMethods {
    RandomMethods() {}

    // ---------------------------------------------------------------- fresh tensors

    /**
     * Uniform in [0, 1), float32.
     *
     * @param shape the sizes; none gives a 0-d tensor
     * @return a new tensor on the CPU
     */
    public static Tensor rand(long... shape) {
        Objects.requireNonNull(shape, "shape");
        return rand(Shape.of("rand", shape), 0, 1, DType.FLOAT32, Device.CPU);
    }

    /**
     * Uniform in [low, high).
     *
     * @param shape the sizes; none gives a 0-d tensor
     * @param low the least value
     * @param high the bound, which is not reached except by rounding to 16 bits
     * @param dtype floating
     * @param device where it is made
     * @return a new tensor
     */
    public static Tensor rand(Shape shape, double low, double high, DType dtype, Device device) {
        Objects.requireNonNull(shape, "shape");
        GraphCapture.Draw d = GraphCapture.Draw.take(Philox.blocks(shape.numel(), dtype == DType.FLOAT64), device);
        return RandomOps.RAND.call(
                new RandomOps.Rand(shape.toArray(), low, high, dtype, device, d.seed(), d.offset(), d.base()));
    }

    /**
     * Standard normal, float32.
     *
     * @param shape the sizes; none gives a 0-d tensor
     * @return a new tensor on the CPU
     */
    public static Tensor randn(long... shape) {
        Objects.requireNonNull(shape, "shape");
        return randn(Shape.of("randn", shape), DType.FLOAT32, Device.CPU);
    }

    /**
     * Standard normal.
     *
     * @param shape the sizes; none gives a 0-d tensor
     * @param dtype floating
     * @param device where it is made
     * @return a new tensor of mean 0 and variance 1
     */
    public static Tensor randn(Shape shape, DType dtype, Device device) {
        Objects.requireNonNull(shape, "shape");
        GraphCapture.Draw d = GraphCapture.Draw.take(Philox.blocks(shape.numel(), dtype == DType.FLOAT64), device);
        return RandomOps.RANDN.call(
                new RandomOps.Randn(shape.toArray(), 0, 1, dtype, device, d.seed(), d.offset(), d.base()));
    }

    /**
     * Uniform integers from {@code low} up to, not including, {@code high}; int64.
     *
     * @param low the least value
     * @param high above the largest value
     * @param shape the sizes; none gives a 0-d tensor
     * @return a new tensor on the CPU
     */
    public static Tensor randint(long low, long high, long... shape) {
        Objects.requireNonNull(shape, "shape");
        return randint(low, high, Shape.of("randint", shape), DType.INT64, Device.CPU);
    }

    /**
     * Uniform integers from {@code low} up to, not including, {@code high}.
     *
     * @param low the least value
     * @param high above the largest value
     * @param shape the sizes; none gives a 0-d tensor
     * @param dtype integer or floating, but exact for all of these numbers
     * @param device where it is made
     * @return a new tensor
     * @throws ShapeException if there are none
     * @throws DTypeException if the dtype cannot hold them
     */
    public static Tensor randint(long low, long high, Shape shape, DType dtype, Device device) {
        Objects.requireNonNull(shape, "shape");
        requireIntegers(low, high, dtype);
        GraphCapture.Draw d =
                GraphCapture.Draw.take(Philox.blocks(shape.numel(), RandomOps.isWide(high - low)), device);
        return RandomOps.RANDINT.call(
                new RandomOps.Randint(shape.toArray(), low, high - low, dtype, device, d.seed(), d.offset(), d.base()));
    }

    /**
     * The numbers 0 … n − 1 in random order, int64.
     *
     * @param n how many, at least 0
     * @return a new tensor [n] on the CPU
     */
    public static Tensor randperm(long n) {
        if (n > Long.MAX_VALUE / Long.BYTES) {
            throw new ShapeException(Message.of("merapi::randperm", n + " numbers need more than 2^63 - 1 bytes")
                    .argument("n"));
        }
        GraphCapture.Draw d = GraphCapture.Draw.take(Philox.blocks(Math.max(0, n), true), Device.CPU);
        return RandomOps.RANDPERM.call(new RandomOps.Randperm(n, d.seed(), d.offset()));
    }

    /**
     * Uniform in [0, 1), in the form of this tensor, whose dtype must be floating.
     *
     * @return a new tensor of this shape, dtype and device
     */
    public Tensor randLike() {
        return self().emptyLike().uniform_(0, 1);
    }

    /**
     * Standard normal, in the form of this tensor, whose dtype must be floating.
     *
     * @return a new tensor of this shape, dtype and device
     */
    public Tensor randnLike() {
        return self().emptyLike().normal_(0, 1);
    }

    // ---------------------------------------------------------------- in place: for floating tensors

    /**
     * Fills with numbers uniform in [low, high); returns this.
     *
     * @param low the least value
     * @param high the bound, which is not reached except by rounding to 16 bits
     * @return this tensor
     */
    public Tensor uniform_(double low, double high) {
        Tensor t = self();
        if (!t.isContiguous()) {
            return copy_(rand(t.shape(), low, high, t.dtype(), t.device()));
        }
        GraphCapture.Draw d = GraphCapture.Draw.take(Philox.blocks(t.numel(), t.dtype() == DType.FLOAT64), t.device());
        return RandomOps.UNIFORM.call(new RandomOps.Uniform(t, low, high, d.seed(), d.offset(), d.base()));
    }

    /**
     * Fills with normal numbers; returns this.
     *
     * @param mean any finite number
     * @param deviation the standard deviation, at least 0
     * @return this tensor
     */
    public Tensor normal_(double mean, double deviation) {
        Tensor t = self();
        if (!t.isContiguous()) {
            return copy_(t.emptyLike().normal_(mean, deviation));
        }
        GraphCapture.Draw d = GraphCapture.Draw.take(Philox.blocks(t.numel(), t.dtype() == DType.FLOAT64), t.device());
        return RandomOps.NORMAL.call(new RandomOps.Normal(t, mean, deviation, d.seed(), d.offset(), d.base()));
    }

    /**
     * Fills with 1 at probability {@code p}, else 0; any dtype; returns this.
     *
     * @param p a probability, from 0 to 1
     * @return this tensor
     */
    public Tensor bernoulli_(double p) {
        Tensor t = self();
        if (!t.isContiguous()) {
            return copy_(t.emptyLike().bernoulli_(p));
        }
        GraphCapture.Draw d = GraphCapture.Draw.take(Philox.blocks(t.numel(), false), t.device());
        return RandomOps.BERNOULLI.call(new RandomOps.Bernoulli(t, p, d.seed(), d.offset(), d.base()));
    }

    /**
     * 1 with the probability that each element says, else 0, in its dtype; no gradient.
     *
     * @return a new tensor of this shape and dtype
     */
    public Tensor bernoulli() {
        Tensor t = self();
        t.requireOpen("bernoulli", "x"); // before a number is drawn
        return rand(t.shape(), 0, 1, DType.FLOAT32, t.device()).lt(t.detach()).to(t.dtype());
    }

    /**
     * Fills with numbers of the exponential distribution, −log(1 − u) / rate for u uniform in [0, 1); returns this.
     *
     * @param rate λ, the inverse of the mean; positive and finite
     * @return this tensor
     */
    public Tensor exponential_(double rate) {
        if (!(rate > 0) || Double.isInfinite(rate)) {
            throw new SchemaException(Message.of("merapi::exponential_", "rate is " + rate)
                    .argument("rate")
                    .fix("a positive, finite number."));
        }
        Tensor t = self();
        t.requireOpen("exponential_", "x"); // before a number is drawn
        return Composition.of("merapi::exponential_", () -> {
            DType precise = t.dtype() == DType.FLOAT64 || !t.dtype().isFloating() ? t.dtype() : DType.FLOAT32;
            Tensor u = rand(t.shape(), 0, 1, precise, t.device());
            return t.copy_(u.neg().log1p().mul(-1 / rate));
        });
    }

    /**
     * Draws indices of the last dimension with these probabilities, which need not add up to 1. Waits for the device, to see
     * whether they are probabilities.
     *
     * @param count how many of each row
     * @param replacement whether an index may be drawn again; else at least {@code count} have a probability above 0
     * @return int64 [count] of [n], [rows, count] of [rows, n]; not differentiable
     */
    public Tensor multinomial(long count, boolean replacement) {
        Tensor t = self();
        t.requireOpen("multinomial", "x");
        return Composition.of("merapi::multinomial", () -> {
            if (t.rank() < 1 || t.rank() > 2 || !t.dtype().isFloating() || count < 1) {
                throw new ShapeException(
                        Message.of("merapi::multinomial", "takes floats [n] or [rows, n], and a count of at least 1")
                                .fact("x", t.describe())
                                .fact("count", count));
            }
            Tensor p = t.detach().to(DType.FLOAT64);
            Tensor usual = p.ge(0).logicalAnd(p.lt(Double.POSITIVE_INFINITY)).all(-1);
            Tensor enough = p.gt(0).sum(-1).ge(replacement ? 1 : count);
            if (!usual.logicalAnd(enough).all().itemBoolean()) {
                throw new ShapeException(Message.of(
                                "merapi::multinomial",
                                "a row has negative or infinite numbers, or fewer above 0 than are drawn")
                        .fact("x", t.describe())
                        .fact("count", count)
                        .fix("softmax(-1) makes probabilities; replacement draws again."));
            }
            if (!replacement) {
                // The largest of p / E, for exponential E, is each with its probability; then so is the next of the
                // others.
                Tensor e = p.emptyLike().exponential_(1).clampMin(Double.MIN_NORMAL);
                return p.div(e).topk(count, -1, true).indices();
            }
            Tensor sums = p.cumsum(-1);
            Tensor all = sums.narrow(-1, p.size(-1) - 1, 1);
            Shape drawn = p.shape().with(-1, count);
            Tensor at = rand(drawn, 0, 1, DType.FLOAT64, t.device()).mul(all).minimum(all.mul(1 - 0x1p-52));
            return sums.searchSorted(at, true);
        });
    }

    // ---------------------------------------------------------------- dropout

    /**
     * In training each element becomes 0 at probability {@code p}, and is multiplied by 1 / (1 − p) otherwise; the gradient
     * passes where it was kept. Not in training, or at p = 0, this itself.
     *
     * @param p a probability, from 0 to 1
     * @param training whether anything is dropped at all
     * @return a new tensor of this shape and dtype, or this one
     */
    public Tensor dropout(double p, boolean training) {
        if (!(p >= 0 && p <= 1)) {
            throw new ShapeException("dropout: probability " + p + " does not lie in [0, 1]");
        }
        if (!training || p == 0) {
            self().requireOpen("dropout", "x");
            return self();
        }
        GraphCapture.Draw d = GraphCapture.Draw.take(Philox.blocks(self().numel(), false), self().device());
        return RandomOps.DROPOUT
                .call(new RandomOps.Dropout(self(), p, d.seed(), d.offset(), d.base()))
                .output();
    }

    private static void requireIntegers(long low, long high, DType dtype) {
        if (low >= high) {
            throw new ShapeException("randint: there are no integers from " + low + " up to, not including, " + high);
        }
        if (dtype.isFloating() || !dtype.contains(low) || !dtype.contains(high - 1)) {
            throw new DTypeException(
                    "randint: " + dtype + " cannot hold the integers from " + low + " to " + (high - 1));
        }
    }
}
