// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.kit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.op.Op;
import dev.merapi.testkit.OpRows;
import dev.merapi.testkit.OpSamples;
import dev.merapi.testkit.Ops;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class CompletenessTest {
    private static Set<String> withRows() {
        return OpRows.all().stream().map(row -> row.op().name()).collect(Collectors.toCollection(TreeSet::new));
    }

    @Test
    void everyBuiltInOpHasSamplesOrAReason() {
        Set<String> missing = new TreeSet<>();
        for (Op<?, ?> op : Ops.builtIn()) {
            missing.add(op.name());
        }
        assertThat(missing).hasSizeGreaterThan(150);
        missing.removeAll(withRows());
        missing.removeAll(OpRows.without().keySet());
        assertThat(missing)
                .as("ops without samples: add a row, or a reason to OpRows.without()")
                .isEmpty();
    }

    @Test
    void reasonsAreForOpsThatExistAndHaveNoRow() {
        Set<String> names = Ops.builtIn().stream().map(Op::name).collect(Collectors.toSet());
        assertThat(names).containsAll(OpRows.without().keySet());
        assertThat(withRows()).doesNotContainAnyElementsOf(OpRows.without().keySet());
        OpRows.without().forEach((op, reason) -> System.out.println("no samples: " + op + ": " + reason));
    }

    /** What computes in float32 computes in 16 bits too: a contract holds every backend to the rows. */
    @Test
    void everyOpThatHasFloat32HasTheSixteenBitFloats() {
        Set<String> missing = new TreeSet<>();
        for (OpSamples<?, ?> row : OpRows.all()) {
            for (DType dtype : List.of(DType.FLOAT16, DType.BFLOAT16)) {
                if (row.dtypes().contains(DType.FLOAT32) && !row.dtypes().contains(dtype)) {
                    missing.add(row.op().name() + " in " + dtype);
                }
            }
        }
        assertThat(missing).isEmpty();
    }

    @Test
    void noOpHasTwoRows() {
        assertThat(OpRows.all().stream().map(OpSamples::op).map(Op::name).toList())
                .doesNotHaveDuplicates();
    }
}
