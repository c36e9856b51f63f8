// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.op.Op;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import org.jspecify.annotations.Nullable;

/**
 * The row of an op: samples for each dtype, what the results must be, and mistakes that must be refused.
 *
 * <pre>{@code
 * samples(Softmax.SOFTMAX)
 *         .sample("rows", m -> new Softmax.Along(m.uniform(-3, 3, 4, 7), 1))
 *         .reference(a -> …)                        // in float64, with nothing of the engine's
 *         .terms(a -> a.x().size(1))                // how many numbers are summed up
 *         .error(m -> …, ShapeException.class, "softmax: …")
 * }</pre>
 */
public final class OpSamples<A extends Record, R> {
    /** One way to call the op. */
    record Sample<A>(String name, Function<Maker, A> make, boolean checked) {}

    /** A mistake and what must be said about it. */
    record Mistake<A>(Function<Maker, A> make, Class<? extends Exception> type, String text) {}

    private final Op<A, R> op;
    private final List<Sample<A>> samples = new ArrayList<>();
    private final List<Mistake<A>> mistakes = new ArrayList<>();
    private final Map<String, String> skips = new LinkedHashMap<>();
    private List<DType> dtypes = List.of(DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16);
    private @Nullable Function<A, List<Grid>> reference;
    private @Nullable Function<A, List<Grid>> scale;
    private ToDoubleFunction<A> terms = a -> 1;
    private double ulps = 4;
    private boolean roundsEachTerm;

    private OpSamples(Op<A, R> op) {
        this.op = op;
    }

    public static <A extends Record, R> OpSamples<A, R> samples(Op<A, R> op) {
        return new OpSamples<>(op);
    }

    /** The dtypes that the op must work for; the four floating ones unless said otherwise. */
    public OpSamples<A, R> dtypes(DType... all) {
        dtypes = Arrays.asList(all);
        return this;
    }

    /** Compared with the reference in all dtypes, and put through {@code OpCheck} in float64. */
    public OpSamples<A, R> sample(String name, Function<Maker, A> make) {
        samples.add(new Sample<>(name, make, true));
        return this;
    }

    /** Compared with the reference only: special values, and sizes that would take long to differentiate. */
    public OpSamples<A, R> valuesOnly(String name, Function<Maker, A> make) {
        samples.add(new Sample<>(name, make, false));
        return this;
    }

    /** The tensors of the result in float64. */
    public OpSamples<A, R> reference(Function<A, List<Grid>> f) {
        reference = f;
        return this;
    }

    /** {@link #reference} of an op with one output. */
    public OpSamples<A, R> references(Function<A, Grid> f) {
        return reference(a -> List.of(f.apply(a)));
    }

    /** What errors are relative to, per element, where it is not the result: for sums, the sum of sizes. */
    public OpSamples<A, R> scale(Function<A, List<Grid>> f) {
        scale = f;
        return this;
    }

    /** How many numbers are accumulated into one: errors grow with its root. */
    public OpSamples<A, R> terms(ToDoubleFunction<A> f) {
        terms = f;
        return this;
    }

    /** Whether {@link #roundsEachTerm} was said. */
    public boolean roundsEach() {
        return roundsEachTerm;
    }

    /** What makes the arguments of each sample, in its order. */
    public List<Function<Maker, A>> makers() {
        return samples.stream().map(Sample::make).toList();
    }

    /** Of {@link #makers} those that {@code OpCheck} sees, gradients among the rest. */
    public List<Function<Maker, A>> checkedMakers() {
        return samples.stream().filter(Sample::checked).map(Sample::make).toList();
    }

    double termsOf(A args) {
        return terms.applyAsDouble(args);
    }

    /** The factor before epsilon and the root of {@link #terms}; 4 unless said otherwise. */
    public OpSamples<A, R> ulps(double factor) {
        ulps = factor;
        return this;
    }

    /** For ops that choose or count: the number itself, in every dtype. */
    public OpSamples<A, R> exact() {
        return ulps(0);
    }

    /** Sums accumulate in a tensor of the dtype, and are rounded to it each time. */
    public OpSamples<A, R> roundsEachTerm() {
        roundsEachTerm = true;
        return this;
    }

    /** A mistake, what is thrown, and a part of the message. */
    public OpSamples<A, R> error(Function<Maker, A> make, Class<? extends Exception> type, String text) {
        mistakes.add(new Mistake<>(make, type, text));
        return this;
    }

    /** Leaves out one check of {@code OpCheck}; the reason is printed. */
    public OpSamples<A, R> skip(String check, String reason) {
        skips.put(check, reason);
        return this;
    }

    public Op<A, R> op() {
        return op;
    }

    List<Sample<A>> samples() {
        return samples;
    }

    List<Mistake<A>> mistakes() {
        return mistakes;
    }

    Map<String, String> skips() {
        return skips;
    }

    public List<DType> dtypes() {
        return dtypes;
    }

    /** The first sample on the CPU, without gradients: for tests that spoil it. */
    public A example(DType dtype) {
        return samples.get(0).make().apply(new Maker(dtype, Device.CPU, 1, false));
    }

    @Nullable
    List<Grid> expected(A args) {
        return reference == null ? null : reference.apply(args);
    }

    @Nullable
    List<Grid> scale(A args) {
        return scale == null ? null : scale.apply(args);
    }

    Tolerance tolerance(A args) {
        return new Tolerance(ulps, Math.max(1, terms.applyAsDouble(args)), roundsEachTerm);
    }

    @Override
    public String toString() {
        return op.name();
    }
}
