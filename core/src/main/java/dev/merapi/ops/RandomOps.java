// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.op.Grads;
import dev.merapi.op.Jvp;
import dev.merapi.op.Op;
import dev.merapi.random.Philox;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import org.jspecify.annotations.Nullable;

/**
 * Random numbers as functions of (seed, offset): the same on every device and for any number of threads, as {@link Philox}
 * specifies. {@code offset} counts blocks; a 0-d int64 tensor {@code base}, if given, is added to it when the kernel runs,
 * so that a captured graph draws new numbers at each replay. Whoever calls an op here takes the blocks from a generator
 * first; the methods of Tensor do.
 */
public final class RandomOps {
    private RandomOps() {}

    // ---------------------------------------------------------------- into a tensor

    /**
     * What {@link #UNIFORM} takes.
     *
     * @param target what is written: floating and contiguous
     * @param low the least number
     * @param high the numbers stay below it
     * @param seed of the stream of numbers
     * @param offset the first block of four numbers that is used
     * @param base int64, 0-d: added to offset when the kernel runs; or null
     */
    public record Uniform(
            Tensor target,
            double low,
            double high,
            long seed,
            long offset,
            @Nullable Tensor base) {}

    /**
     * What {@link #NORMAL} takes.
     *
     * @param target what is written: floating and contiguous
     * @param mean finite
     * @param deviation the standard deviation, not negative
     * @param seed of the stream of numbers
     * @param offset the first block of four numbers that is used
     * @param base int64, 0-d: added to offset when the kernel runs; or null
     */
    public record Normal(
            Tensor target,
            double mean,
            double deviation,
            long seed,
            long offset,
            @Nullable Tensor base) {}

    /**
     * What {@link #INTEGERS} takes.
     *
     * @param target what is written: integral or bool, and contiguous
     * @param low the least number
     * @param range how many integers from {@code low} on, as an unsigned number; 0 stands for 2⁶⁴
     * @param seed of the stream of numbers
     * @param offset the first block of four numbers that is used
     * @param base int64, 0-d: added to offset when the kernel runs; or null
     */
    public record Integers(
            Tensor target,
            long low,
            long range,
            long seed,
            long offset,
            @Nullable Tensor base) {}

    /**
     * What {@link #BERNOULLI} takes.
     *
     * @param target what is written: of any dtype, contiguous
     * @param p the probability of 1
     * @param seed of the stream of numbers
     * @param offset the first block of four numbers that is used
     * @param base int64, 0-d: added to offset when the kernel runs; or null
     */
    public record Bernoulli(
            Tensor target,
            double p,
            long seed,
            long offset,
            @Nullable Tensor base) {}

    /** Fills with low + (high − low)·u, u in [0, 1). Floating; contiguous. */
    public static final Op<Uniform, Tensor> UNIFORM = intoTarget(
                    Op.define("merapi::uniform_", Uniform.class, Tensor.class))
            .shape(a -> {
                requireInterval("uniform_", a.low(), a.high());
                return requireTarget("uniform_", a.target(), true);
            })
            .register();

    /** Fills with mean + deviation·z, z standard normal. Floating; contiguous. */
    public static final Op<Normal, Tensor> NORMAL = intoTarget(Op.define("merapi::normal_", Normal.class, Tensor.class))
            .shape(a -> {
                requireNormal("normal_", a.mean(), a.deviation());
                return requireTarget("normal_", a.target(), true);
            })
            .register();

    /** Fills with integers. Integral or bool; contiguous. */
    public static final Op<Integers, Tensor> INTEGERS = intoTarget(
                    Op.define("merapi::integers_", Integers.class, Tensor.class))
            .shape(a -> requireTarget("integers_", a.target(), false))
            .register();

    /** Fills with 1 at probability p, else 0. Any dtype; contiguous. */
    public static final Op<Bernoulli, Tensor> BERNOULLI = intoTarget(
                    Op.define("merapi::bernoulli_", Bernoulli.class, Tensor.class))
            .shape(a -> {
                requireProbability("bernoulli_", a.p());
                return requireTarget("bernoulli_", a.target(), null);
            })
            .register();

    private static <A extends Record> Op<A, Tensor> intoTarget(Op<A, Tensor> op) {
        return op.mutates("target")
                .returnsMutated()
                .autograd(
                        (a, out) -> true,
                        (context, saved, g) -> Grads.of("target", g.zerosLike()).and("base", (Tensor) null));
    }

    /** Memory to be filled; of a wrong dtype none is made. */
    private static Tensor fresh(String op, long[] sizes, DType dtype, Device device, boolean floating) {
        return TENSORS.allocate(
                requireTarget(op, Tensor.meta(Shape.of(op, sizes), dtype, device), floating)
                        .shape(),
                dtype,
                device);
    }

    private static Tensor requireTarget(String op, Tensor t, @Nullable Boolean floating) {
        if (floating != null && t.dtype().isFloating() != floating) {
            throw new DTypeException(op + ": takes " + (floating ? "floating" : "integer and bool")
                    + " tensors, but got " + t.describe());
        }
        if (!t.isContiguous()) {
            throw new ShapeException(op + ": the target must be contiguous, but is " + t.dtype() + t.layout()
                    + "\n  fix: fill a fresh tensor, then copy_ it.");
        }
        return t;
    }

    private static void requireInterval(String op, double low, double high) {
        if (!(low <= high) || Double.isInfinite(high - low)) {
            throw new ShapeException(op + ": [low, high) = [" + low + ", " + high + ") is not a finite interval"
                    + "\n  fix: low ≤ high, both finite.");
        }
    }

    private static void requireNormal(String op, double mean, double deviation) {
        Form.requireFinite(op, "mean", mean);
        Form.requireNotNegative(op, "deviation", deviation);
    }

    private static void requireProbability(String op, double p) {
        if (!(p >= 0 && p <= 1)) {
            throw new ShapeException(op + ": probability " + p + " does not lie in [0, 1]");
        }
    }

    /**
     * Whether a range of integers takes 64 bits an element instead of 32; for who takes blocks from a generator.
     *
     * @param range as in {@link Integers}
     * @return whether 32 bits cannot tell its integers apart
     */
    public static boolean isWide(long range) {
        return range <= 0 || range >= 1L << 32;
    }

    // ---------------------------------------------------------------- fresh tensors

    /**
     * What {@link #RAND} takes.
     *
     * @param sizes of the result
     * @param low the least number
     * @param high the numbers stay below it
     * @param dtype floating
     * @param device where the result is made
     * @param seed of the stream of numbers
     * @param offset the first block of four numbers that is used
     * @param base int64, 0-d: added to offset when the kernel runs; or null
     */
    public record Rand(
            long[] sizes,
            double low,
            double high,
            DType dtype,
            Device device,
            long seed,
            long offset,
            @Nullable Tensor base) {}

    /**
     * What {@link #RANDN} takes.
     *
     * @param sizes of the result
     * @param mean finite
     * @param deviation the standard deviation, not negative
     * @param dtype floating
     * @param device where the result is made
     * @param seed of the stream of numbers
     * @param offset the first block of four numbers that is used
     * @param base int64, 0-d: added to offset when the kernel runs; or null
     */
    public record Randn(
            long[] sizes,
            double mean,
            double deviation,
            DType dtype,
            Device device,
            long seed,
            long offset,
            @Nullable Tensor base) {}

    /**
     * What {@link #RANDINT} takes.
     *
     * @param sizes of the result
     * @param low the least number
     * @param range as in {@link Integers}
     * @param dtype integral or bool
     * @param device where the result is made
     * @param seed of the stream of numbers
     * @param offset the first block of four numbers that is used
     * @param base int64, 0-d: added to offset when the kernel runs; or null
     */
    public record Randint(
            long[] sizes,
            long low,
            long range,
            DType dtype,
            Device device,
            long seed,
            long offset,
            @Nullable Tensor base) {}

    /**
     * What {@link #RANDPERM} takes.
     *
     * @param n how many numbers
     * @param seed of the stream of numbers
     * @param offset the first block of four numbers that is used
     */
    public record Randperm(long n, long seed, long offset) {}

    /** A new tensor of numbers from [low, high), all as likely; as {@link #UNIFORM}. */
    public static final Op<Rand, Tensor> RAND = Op.define("merapi::rand", Rand.class, Tensor.class)
            .compose(a -> {
                requireInterval("rand", a.low(), a.high());
                return UNIFORM.call(new Uniform(
                        fresh("rand", a.sizes(), a.dtype(), a.device(), true),
                        a.low(),
                        a.high(),
                        a.seed(),
                        a.offset(),
                        a.base()));
            })
            .register();

    /** A new tensor of normal numbers; as {@link #NORMAL}. */
    public static final Op<Randn, Tensor> RANDN = Op.define("merapi::randn", Randn.class, Tensor.class)
            .compose(a -> {
                requireNormal("randn", a.mean(), a.deviation());
                return NORMAL.call(new Normal(
                        fresh("randn", a.sizes(), a.dtype(), a.device(), true),
                        a.mean(),
                        a.deviation(),
                        a.seed(),
                        a.offset(),
                        a.base()));
            })
            .register();

    /** A new tensor of integers of a range, all as likely; as {@link #INTEGERS}. */
    public static final Op<Randint, Tensor> RANDINT = Op.define("merapi::randint", Randint.class, Tensor.class)
            .compose(a -> INTEGERS.call(new Integers(
                    fresh("randint", a.sizes(), a.dtype(), a.device(), false),
                    a.low(),
                    a.range(),
                    a.seed(),
                    a.offset(),
                    a.base())))
            .register();

    /**
     * A permutation of 0 … n − 1, int64 on the CPU: for i from n − 1 down to 1, i changes places with the integer below
     * i + 1 that the 64 bits of element i give.
     */
    public static final Op<Randperm, Tensor> RANDPERM = Op.define("merapi::randperm", Randperm.class, Tensor.class)
            .device(a -> Device.CPU)
            .shape(a -> Tensor.meta(Shape.of("randperm", a.n()), DType.INT64, Device.CPU))
            .register();

    // ---------------------------------------------------------------- dropout

    /**
     * What {@link #DROPOUT} takes.
     *
     * @param x floating
     * @param p the probability of 0, from 0 to 1
     * @param seed of the stream of numbers
     * @param offset the first block of four numbers that is used
     * @param base int64, 0-d: added to offset when the kernel runs; or null
     */
    public record Dropout(
            Tensor x,
            double p,
            long seed,
            long offset,
            @Nullable Tensor base) {}

    /**
     * What {@link #DROPOUT} gives; the mask is internal.
     *
     * @param output of the form of x
     * @param mask bool, of the shape of x: what was kept
     */
    public record Dropped(Tensor output, Tensor mask) {}

    /** What backward needs. */
    record Kept(Tensor mask, double scale) {}

    /** Each element is 0 at probability p, else multiplied by 1 / (1 − p). */
    public static final Op<Dropout, Dropped> DROPOUT = Op.define("merapi::dropout", Dropout.class, Dropped.class)
            .internal("mask")
            .kernelType(a -> a.x().dtype())
            .shape(a -> {
                requireProbability("dropout", a.p());
                requireFloating(a.x());
                return new Dropped(Tensor.meta(a.x()), Tensor.meta(a.x(), DType.BOOL));
            })
            .autograd(
                    (a, out) -> new Kept(out.mask(), scale(a.p())),
                    (context, kept, g) -> Grads.of("x", dropoutBackward(context.orZeros(g.output(), 0), kept))
                            .and("base", (Tensor) null))
            .jvp(Jvp.refused(
                    "it draws random numbers", "switch it off (p = 0), or multiply with a mask that is drawn outside."))
            .register();

    /** What was kept, scaled; 0 elsewhere. */
    public static final PointwiseOp DROPOUT_BACKWARD = Pointwise.define(
            "merapi::dropout_backward",
            (g, mask, scale) -> mask.select(g.mul(scale), Expr.constant(0)),
            Param.scalar("scale"));

    private static Tensor dropoutBackward(Tensor g, Kept kept) {
        return DROPOUT_BACKWARD.call(g, kept.mask(), kept.scale());
    }

    private static void requireFloating(Tensor x) {
        if (!x.dtype().isFloating()) {
            throw new DTypeException("dropout: takes floating tensors, but got " + x.describe());
        }
    }

    /**
     * What kept elements are multiplied by.
     *
     * @param p the probability of 0
     * @return 1/(1 − p), and 0 where nothing is kept
     */
    public static double scale(double p) {
        return p == 1 ? 0 : 1 / (1 - p);
    }

    /**
     * The probability of falling below, as the bound that {@link Philox#keep} compares with.
     *
     * @param p from 0 to 1
     * @return p·2³², rounded
     */
    public static long threshold(double p) {
        return Math.round(p * 0x1p32);
    }
}
