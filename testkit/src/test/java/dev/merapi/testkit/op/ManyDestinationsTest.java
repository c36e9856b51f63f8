// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.AliasException;
import dev.merapi.op.Op;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** An op that writes so many tensors that they are not compared each with each, as an optimiser's does. */
class ManyDestinationsTest {
    private static final int MANY = 40;

    public record Lists(List<Tensor> to, List<Tensor> from) {}

    /** to[i] = from[i], after all of `to` has been set to −1: what overlaps and was not copied shows. */
    private static final Op<Lists, Tensor> OVERWRITE = Op.define("test::overwrite", Lists.class, Tensor.class)
            .mutates("to")
            .shape(a -> Tensor.meta(a.from().get(0)))
            .stridesOk()
            .reference((a, out) -> {
                List<double[]> read = new ArrayList<>();
                a.to().forEach(t -> fill(t, new double[(int) t.numel()], -1));
                a.from().forEach(t -> read.add(t.toDoubleArray()));
                for (int i = 0; i < a.to().size(); i++) {
                    fill(a.to().get(i), read.get(i), 0);
                }
            })
            .nonDifferentiable();

    private static void fill(Tensor t, double[] values, double add) {
        Elements e = Elements.of(t);
        for (int i = 0; i < values.length; i++) {
            e.setDouble(i, values[i] + add);
        }
    }

    private static List<Tensor> vectors(int first) {
        List<Tensor> all = new ArrayList<>();
        for (int i = 0; i < MANY; i++) {
            all.add(Tensor.of(new double[] {first + i, first + i + 0.5}));
        }
        return all;
    }

    @Test
    void whatIsApartIsWrittenAsItIs() {
        List<Tensor> to = vectors(0);
        OVERWRITE.call(new Lists(to, vectors(100)));
        for (int i = 0; i < MANY; i++) {
            assertThat(to.get(i).toDoubleArray()).containsExactly(100 + i, 100.5 + i);
        }
    }

    @Test
    void partsOfOneTensorThatDoNotMeetMayBeWritten() {
        Tensor whole = Tensor.zeros(2 * MANY);
        List<Tensor> to = new ArrayList<>();
        List<Tensor> from = new ArrayList<>();
        for (int i = 0; i < MANY; i++) {
            to.add(whole.slice(0, 2 * i, 2 * i + 2));
            from.add(Tensor.of(new float[] {i, i}));
        }
        OVERWRITE.call(new Lists(to, from));
        assertThat(whole.toDoubleArray()[2 * MANY - 1]).isEqualTo(MANY - 1);
    }

    @Test
    void twoThatMeetAreRefused() {
        List<Tensor> to = vectors(0);
        Tensor whole = Tensor.of(new double[] {1, 2, 3});
        to.set(3, whole.slice(0, 0, 2));
        to.set(30, whole.slice(0, 1, 3));
        assertThatThrownBy(() -> OVERWRITE.call(new Lists(to, vectors(100))))
                .isInstanceOf(AliasException.class)
                .hasMessageContaining("two of the tensors that it writes overlap");
        assertThat(to.get(0).toDoubleArray()).containsExactly(0, 0.5);
    }

    @Test
    void anInputThatIsWrittenElsewhereIsCopiedFirst() {
        List<Tensor> to = vectors(0);
        List<Tensor> from = vectors(100);
        Tensor whole = Tensor.of(new double[] {1, 2, 3});
        to.set(7, whole.slice(0, 0, 2));
        from.set(20, whole.slice(0, 1, 3));
        OVERWRITE.call(new Lists(to, from));
        assertThat(to.get(20).toDoubleArray()).containsExactly(2, 3);
        assertThat(to.get(7).toDoubleArray()).containsExactly(107, 107.5);
    }
}
