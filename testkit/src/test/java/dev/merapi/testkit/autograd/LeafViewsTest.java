// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.GradientException;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.Ops;
import dev.merapi.testkit.autograd.Writes.View;
import dev.merapi.testkit.autograd.Writes.Write;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A leaf that is a view of something is a leaf like any other: over all views and all ways to write in place. */
class LeafViewsTest {
    private static final List<View> VIEWS = Writes.views();

    private final List<String> wrong = new ArrayList<>();
    private int tried;

    /** A tensor of some sizes that can be written: 1, 1.01, … */
    private static Tensor counting(long... sizes) {
        long n = dev.merapi.types.Shape.of(sizes).numel();
        double[] values = new double[(int) n];
        for (int i = 0; i < n; i++) {
            values[i] = 1 + i * 0.01;
        }
        return Tensor.of(values, sizes);
    }

    private static double[] ones(int n) {
        double[] ones = new double[n];
        Arrays.fill(ones, 1);
        return ones;
    }

    /** What each pair of views and each write go through. */
    private interface Check {
        void run(View leaf, View view, Write write);
    }

    /** All pairs of views with three writes; all writes with two pairs each, so that all views see some. */
    private void each(Check check) {
        List<Write> writes = Writes.all();
        int n = VIEWS.size();
        for (int i = 0; i < writes.size(); i++) {
            Write write = writes.get(i);
            boolean pairs = List.of("merapi::zero_", "merapi::mul_", "merapi::index_add_")
                    .contains(write.name());
            for (int k = 0; k < (pairs ? n * n : 2); k++) {
                int pair = pairs ? k : (i * 2 + k) * 7 % (n * n);
                run(check, VIEWS.get(pair / n), VIEWS.get(pair % n), write);
            }
        }
        assertThat(tried).isGreaterThan(3 * n * (n - 1));
        assertThat(wrong).isEmpty();
    }

    private void run(Check check, View leaf, View view, Write write) {
        long[] sizes = write.shape().toArray();
        if (!view.fits(sizes) || !leaf.fits(view.before().apply(sizes))) {
            return;
        }
        tried++;
        try (Scope scope = Scope.open()) {
            check.run(leaf, view, write);
        } catch (RuntimeException | AssertionError e) {
            wrong.add(write + " on " + view + " of " + leaf + ": " + e.getMessage());
        }
    }

    private static void refuses(Tensor memory, Tensor written, Write write) {
        double[] before = memory.toDoubleArray();
        int version = memory.version();
        assertThatThrownBy(() -> write.onto(written)).isInstanceOf(GradientException.class);
        assertThat(memory.toDoubleArray()).isEqualTo(before);
        assertThat(memory.version()).isEqualTo(version);
    }

    private static void gradient(Tensor x, Tensor of, double[] expected) {
        x.setGrad(null);
        Autograd.backward(of.sum());
        assertThat(x.grad()).isNotNull();
        assertThat(x.grad().toDoubleArray()).isEqualTo(expected);
    }

    @Test
    void everyViewOpIsHere() {
        assertThat(VIEWS.stream().map(v -> "merapi::" + v.name()))
                .containsAll(Ops.builtIn().stream()
                        .filter(op -> op.definition().isView())
                        .map(op -> op.name())
                        .toList());
    }

    @Test
    void writesToALeafThatIsAViewAndToItsViewsAreRefused() {
        each((leaf, view, write) -> {
            long[] sizes = write.shape().toArray();
            long[] middle = view.before().apply(sizes);
            for (boolean detached : new boolean[] {false, true}) {
                Tensor memory = counting(leaf.before().apply(middle));
                Tensor x = leaf.of().apply(detached ? memory.detach() : memory, middle);
                Tensor before = view.of().apply(x, sizes);
                x.requiresGrad(true);
                refuses(memory, view.of().apply(x, sizes), write);
                assertThat(before.requiresGrad()).isFalse();
                x.requiresGrad(false);
                write.onto(before);
                Tensor own = leaf.of()
                        .apply(counting(leaf.before().apply(sizes)), sizes)
                        .requiresGrad(true);
                refuses(own, own, write);
            }
        });
    }

    @Test
    void writesToViewsOfAPlainLeafAreRefused() {
        each((leaf, view, write) -> {
            long[] sizes = write.shape().toArray();
            long[] middle = view.before().apply(sizes);
            Tensor x = counting(leaf.before().apply(middle));
            Tensor before = view.of().apply(leaf.of().apply(x, middle), sizes);
            x.requiresGrad(true);
            refuses(x, view.of().apply(leaf.of().apply(x, middle), sizes), write);
            refuses(x, Autograd.noGrad(() -> view.of().apply(leaf.of().apply(x, middle), sizes)), write);
            refuses(x, before, write);
        });
    }

    /** A step of an optimiser changes a leaf without recording: views from before still lead to it. */
    @Test
    void writesThatAreNotRecordedLeaveALeafWhatItIs() {
        each((leaf, view, write) -> {
            long[] sizes = write.shape().toArray();
            long[] middle = view.before().apply(sizes);
            Tensor memory = counting(leaf.before().apply(middle));
            Tensor sibling = memory.view(-1);
            Tensor x = leaf.of().apply(memory, middle).requiresGrad(true);
            Tensor v = view.of().apply(x, sizes);
            gradient(x, v, shares(x, v));
            double[] expected = shares(x, v);
            Autograd.noGrad(() -> write.onto(v));
            gradient(x, v, expected);
            sibling.mul_(0.5);
            gradient(x, v, expected);
            gradient(x, x, ones((int) x.numel()));
            memory.zero_();
            gradient(x, view.of().apply(x, sizes), expected);
            assertThat(Autograd.gradFn(x)).isNull();
            assertThat(memory.requiresGrad()).isFalse();
        });
    }

    /** Where a view lies in what it is a view of: 1 there, 0 elsewhere. */
    private static double[] shares(Tensor x, Tensor v) {
        return Autograd.noGrad(() -> {
            double[] kept = x.toDoubleArray();
            double[] seen = v.toDoubleArray();
            x.copy_(Tensor.zeros(x.shape(), x.dtype(), x.device()));
            v.copy_(Tensor.ones(v.shape(), v.dtype(), v.device()));
            double[] result = x.toDoubleArray();
            x.copy_(Tensor.of(kept, x.shape().toArray()));
            assertThat(v.toDoubleArray()).isEqualTo(seen);
            return result;
        });
    }

    @Test
    void aRecordedWriteToSharedMemoryEndsALeaf() {
        for (View leaf : VIEWS) {
            Tensor memory = counting(leaf.before().apply(new long[] {2, 3}));
            Tensor x = leaf.of().apply(memory, new long[] {2, 3}).requiresGrad(true);
            Tensor v = x.select(0, 1);
            double sum = v.sum().item();
            Tensor y = Tensor.of(3.0).requiresGrad(true);
            memory.view(-1).mul_(y);
            Autograd.backward(v.sum());
            assertThat(y.grad().item()).as(leaf.name()).isCloseTo(sum, org.assertj.core.data.Offset.offset(1e-12));
            assertThat(x.grad()).isNull();
            assertThat(Autograd.gradFn(x)).isNotNull();
        }
    }

    /** What is read there is a constant, what is written would change the base: of that nothing would be known. */
    @Test
    void writesThroughViewsThatWereMadeWithoutRecordingAreRefused() {
        each((other, view, write) -> {
            long[] sizes = write.shape().toArray();
            long[] middle = view.before().apply(sizes);
            Tensor x = counting(other.before().apply(middle)).requiresGrad(true);
            Tensor base = x.mul(0.5);
            refuses(base, Autograd.noGrad(() -> view.of().apply(other.of().apply(base, middle), sizes)), write);
            refuses(base, view.of().apply(Autograd.noGrad(() -> other.of().apply(base, middle)), sizes), write);
            Autograd.noGrad(() -> write.onto(view.of().apply(other.of().apply(base, middle), sizes)));
        });
    }

    @Test
    void soAreThoseOfHostValuesRefused() {
        Tensor base = Tensor.of(1.0, 2).requiresGrad(true).mul(2);
        Tensor view = Autograd.noGrad(() -> base.slice(0, 0, 1));
        assertThatThrownBy(() -> view.copyFrom(7.0))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("part of a graph");
        assertThat(base.toDoubleArray()).containsExactly(2, 4);
    }

    /** A leaf among the views of a leaf: each has its own gradient, also after both were written. */
    @Test
    void leavesOfLeavesStandForThemselves() {
        Tensor x = counting(4).requiresGrad(true);
        Tensor inner = Autograd.noGrad(() -> x.slice(0, 0, 2)).requiresGrad(true);
        Tensor v = inner.slice(0, 1, 2);
        Autograd.noGrad(() -> x.mul_(2));
        gradient(inner, v, new double[] {0, 1});
        assertThat(x.grad()).isNull();
        gradient(x, x.mul(3), new double[] {3, 3, 3, 3});
        inner.requiresGrad(false);
        assertThat(v.requiresGrad())
                .as("it is a view of what still wants a gradient")
                .isTrue();
        gradient(x, v, new double[] {0, 1, 0, 0});
    }
}
