// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.merapi.autograd.Autograd;
import dev.merapi.check.OpCheck;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * What every backend must do, op by op: extend this with a device, and each row of {@link OpRows} is run on it.
 */
public abstract class BackendContract {
    /** The device whose backend is tested. */
    protected abstract Device device();

    /** Rows that this backend is not ready for, by op name, with the reason. */
    protected Map<String, String> notYet() {
        return Map.of();
    }

    private Stream<OpSamples<?, ?>> rows() {
        return OpRows.all().stream().filter(row -> !notYet().containsKey(row.op().name()));
    }

    // ---------------------------------------------------------------- forward against the reference

    @TestFactory
    Stream<DynamicNode> forwardMeetsTheFloat64Reference() {
        return rows().map(row -> dynamicContainer(row.toString(), parity(row)));
    }

    private <A extends Record, R> Stream<DynamicTest> parity(OpSamples<A, R> row) {
        List<DynamicTest> tests = new ArrayList<>();
        for (DType dtype : row.dtypes()) {
            for (OpSamples.Sample<A> sample : row.samples()) {
                String name = row + " " + dtype + " " + device() + " " + sample.name();
                tests.add(dynamicTest(name, () -> compare(name, row, sample, dtype)));
            }
        }
        return tests.stream();
    }

    private <A extends Record, R> void compare(
            String name, OpSamples<A, R> row, OpSamples.Sample<A> sample, DType dtype) {
        try (Scope scope = Scope.open()) {
            A args = sample.make().apply(new Maker(dtype, device(), seed(name), false));
            List<Grid> expected = row.expected(args);
            List<Grid> scale = row.scale(args);
            List<Tensor> outputs = Autograd.noGrad(() -> outputs(row, args));
            if (expected == null) {
                return; // it ran; what it gives is checked elsewhere
            }
            Assertions.assertEquals(expected.size(), outputs.size(), name + ": number of outputs");
            Tolerance tolerance = row.tolerance(args);
            for (int i = 0; i < expected.size(); i++) {
                tolerance.check(
                        name + ", output " + i, expected.get(i), scale == null ? null : scale.get(i), outputs.get(i));
            }
        }
    }

    private static <A extends Record, R> List<Tensor> outputs(OpSamples<A, R> row, A args) {
        R result = row.op().call(args);
        Tensor[] tensors = row.op().result().tensors(row.op().name(), result);
        List<Tensor> seen = new ArrayList<>();
        for (int i = 0; i < tensors.length; i++) {
            if (!row.op().definition().isInternal(result, i)) {
                seen.add(tensors[i]);
            }
        }
        if (tensors.length == 0) { // an op that only writes: what it wrote
            boolean[] mutated = row.op().definition().mutatedSlots(args);
            Tensor[] inputs = row.op().schema().tensors(row.op().name(), args);
            for (int i = 0; i < inputs.length; i++) {
                if (mutated[i]) {
                    seen.add(inputs[i]);
                }
            }
        }
        return seen;
    }

    private static long seed(String name) {
        return name.hashCode() * 0x9e3779b97f4a7c15L;
    }

    // ---------------------------------------------------------------- everything else

    @TestFactory
    Stream<DynamicNode> opsPassOpCheck() {
        return rows().map(row -> dynamicContainer(row.toString(), checks(row)));
    }

    private <A extends Record, R> Stream<DynamicTest> checks(OpSamples<A, R> row) {
        DType dtype = row.dtypes().contains(DType.FLOAT64) ? DType.FLOAT64 : row.dtypes().get(0);
        return row.samples().stream().filter(OpSamples.Sample::checked).map(sample -> {
            String name = row + " " + device() + " " + sample.name();
            return dynamicTest(name, () -> {
                try (Scope scope = Scope.open()) {
                    A args = sample.make().apply(new Maker(dtype, device(), seed(name), true));
                    OpCheck<A, R> check = OpCheck.of(row.op()).samples(List.of(args)).seed(seed(name));
                    row.skips().forEach(check::skip);
                    check.run().orThrow();
                }
            });
        });
    }

    @TestFactory
    Stream<DynamicTest> mistakesAreRefused() {
        return rows().flatMap(this::mistakes);
    }

    private <A extends Record, R> Stream<DynamicTest> mistakes(OpSamples<A, R> row) {
        return row.mistakes().stream().map(mistake -> {
            String name = row + " " + device() + " refuses: " + mistake.text();
            return dynamicTest(name, () -> {
                try (Scope scope = Scope.open()) {
                    Exception e = Assertions.assertThrows(mistake.type(), () -> {
                        A args = mistake.make().apply(new Maker(row.dtypes().get(0), device(), seed(name), false));
                        row.op().call(args);
                    });
                    Assertions.assertTrue(
                            String.valueOf(e.getMessage()).contains(mistake.text()),
                            () -> "expected '" + mistake.text() + "' in: " + e.getMessage());
                }
            });
        });
    }
}
