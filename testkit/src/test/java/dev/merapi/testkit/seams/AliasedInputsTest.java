// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.seams;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.ShapeException;
import dev.merapi.op.Definition;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.Maker;
import dev.merapi.testkit.OpRows;
import dev.merapi.testkit.OpSamples;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** An op that writes to a tensor which it also reads gives what it would if it read a copy: over all ops and arguments. */
class AliasedInputsTest {
    private final List<String> wrong = new ArrayList<>();
    private final Set<String> tried = new TreeSet<>();

    @Test
    void everyOpThatWritesReadsWhatWasThere() {
        for (OpSamples<?, ?> row : OpRows.all()) {
            for (DType dtype : new DType[] {DType.FLOAT64, DType.FLOAT32, DType.INT64}) {
                if (row.op().definition().isMutating() && row.dtypes().contains(dtype)) {
                    each(row, dtype);
                }
            }
        }
        assertThat(wrong).isEmpty();
        assertThat(tried).contains("merapi::index_copy_ src");
    }

    private <A extends Record, R> void each(OpSamples<A, R> row, DType dtype) {
        Definition<A, R> op = row.op().definition();
        for (int sample = 0; sample < row.makers().size(); sample++) {
            A args = row.makers().get(sample).apply(new Maker(dtype, Device.CPU, 1, false));
            @Nullable Tensor[] inputs = op.schema().tensors(op.name(), args);
            boolean[] mutated = op.mutatedSlots(args);
            for (int to = 0; to < inputs.length; to++) {
                for (int from = 0; from < inputs.length; from++) {
                    Tensor target = inputs[to];
                    Tensor other = inputs[from];
                    if (mutated[to] && !mutated[from] && target != null && fits(target, other)) {
                        compare(row, args, to, from);
                    }
                }
            }
        }
    }

    private static boolean fits(Tensor target, @Nullable Tensor other) {
        return other != null
                && other.shape().equals(target.shape())
                && other.dtype() == target.dtype()
                && target.isContiguous();
    }

    private <A extends Record, R> void compare(OpSamples<A, R> row, A args, int to, int from) {
        Definition<A, R> op = row.op().definition();
        String what = op.name() + " " + op.slotName(args, from);
        try (Scope scope = Scope.open()) {
            double[][] results = new double[2][];
            for (int shared = 0; shared < 2; shared++) {
                @Nullable Tensor[] inputs = op.schema().tensors(op.name(), args);
                for (int i = 0; i < inputs.length; i++) {
                    inputs[i] = inputs[i] == null ? null : inputs[i].copy();
                }
                Tensor target = inputs[to];
                inputs[from] = shared == 1 ? target : target.copy();
                row.op().call(op.schema().rebuild(args, inputs));
                results[shared] = target.to(DType.FLOAT64).toDoubleArray();
            }
            tried.add(what);
            if (!java.util.Arrays.equals(results[0], results[1])) {
                wrong.add(what);
            }
        } catch (RuntimeException e) {
            wrong.add(what + ": " + e);
        }
    }

    /** As users write them, where samples have no two tensors of one shape. */
    @Test
    void methodsDoToo() {
        Tensor rows = Tensor.of(2L, 0, 1);
        Tensor places = Tensor.of(new long[] {1, 2, 0, 0, 2, 1, 2, 1, 0}, 3, 3);
        Map<String, BiConsumer<Tensor, Tensor>> writes = Map.of(
                "indexAdd_", (x, y) -> x.indexAdd_(0, rows, y),
                "indexCopy_", (x, y) -> x.indexCopy_(0, rows, y),
                "indexCopy_ of the transposed", (x, y) -> x.indexCopy_(0, rows, y.t()),
                "scatterAdd_", (x, y) -> x.scatterAdd_(0, places, y),
                "copy_ of the transposed", (x, y) -> x.copy_(y.t()),
                "add_", Tensor::add_,
                "mul_ of the transposed", (x, y) -> x.mul_(y.t()),
                "addcmul_", (x, y) -> x.addcmul_(y, y.t(), 2),
                "div_ of a row", (x, y) -> x.div_(y.select(0, 1)));
        for (Tensor start : List.of(Tensor.arange(1, 10, 1).reshape(3, 3).to(DType.FLOAT32), Tensor.randn(3, 3))) {
            writes.forEach((name, write) -> {
                Tensor apart = start.copy();
                write.accept(apart, start.copy());
                Tensor shared = start.copy();
                write.accept(shared, shared);
                assertThat(shared.toFloatArray()).as(name).containsExactly(apart.toFloatArray());
            });
        }
    }

    /** Indices are whole numbers, which other samples do not write: the target as its own indices, right and wrong. */
    @Test
    void indicesMayBeWhatIsWritten() {
        Tensor t = Tensor.of(2L, 0, 1);
        t.indexCopy_(0, t, Tensor.of(10L, 11, 12));
        assertThat(t.toLongArray()).containsExactly(11, 12, 10);
        Tensor s = Tensor.of(2L, 0, 1);
        s.scatterAdd_(0, s, Tensor.of(10L, 20, 30));
        assertThat(s.toLongArray()).containsExactly(22, 30, 11);
        Tensor f = Tensor.of(2L, 0, 1);
        f.indexFill_(0, f, 7);
        assertThat(f.toLongArray()).containsOnly(7);
        Tensor wrongOnes = Tensor.of(2L, 1, 5);
        assertThatThrownBy(() -> wrongOnes.indexFill_(0, wrongOnes, 4)).isInstanceOf(ShapeException.class);
        assertThat(wrongOnes.toLongArray()).containsExactly(2, 1, 5);
        assertThat(wrongOnes.version()).isZero();
    }
}
