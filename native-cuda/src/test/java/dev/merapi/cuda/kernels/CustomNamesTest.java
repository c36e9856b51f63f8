// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.Simulator;
import dev.merapi.error.SchemaException;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Operands that are called as things around a body are: each is what it is, in the forward and in the backward. */
@Tag("kernels")
class CustomNamesTest {
    private static final MethodHandles.Lookup LOOKUP = MethodHandles.lookup();

    /** Names of types, templates and functions that stand before a body, in an order in which one would hide the next. */
    record Names(
            Tensor Input,
            Tensor Output,
            Tensor View,
            Tensor List,
            Tensor f16,
            Tensor Arguments,
            Tensor max,
            Tensor u32,
            double exp,
            long size,
            @Nullable Double rd,
            Options saved) {}

    record Options(double dims, double data) {}

    record Inner(Tensor x) {}

    record Outer(Inner inner, Tensor y) {}

    record Result(Tensor Element, Tensor numel) {}

    record X(Tensor x) {}

    record Clash(Tensor d_x) {}

    record Word(Tensor template) {}

    record Pair(List<Tensor> parts, Tensor rest) {}

    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static Tensor there(double... values) {
        return Tensor.of(values).to(Simulator.DEVICE).requiresGrad(true);
    }

    @Test
    void everyOperandIsWhatItsNameSays() {
        Op<Names, Result> op = Op.define(LOOKUP, "test::names", Names.class, Result.class)
                .shape(a -> new Result(Tensor.meta(a.Input()), Tensor.meta(a.Input())))
                .kernel(DeviceType.CUDA, CudaKernel.body("""
                        Element[i] = Input[i] + 10 * Output[i] + 100 * View[i] + 1000 * List[i];
                        numel[i] = f16[i] + 10 * Arguments[i] + 100 * max[i] + 1000 * u32[i] + 1e4 * saved_dims
                                + 1e5 * exp + 1e6 * size + 1e7 * (has_rd ? rd : 9) + 1e8 * saved_data;"""))
                .saveForBackward((a, out) -> a)
                .backward(DeviceType.CUDA, CudaKernel.body("""
                        d_Input[i] = d_Element[i] * Output[i];
                        d_Output[i] = d_Element[i] * Input[i];
                        d_max[i] = d_numel[i] * u32[i];
                        d_View[i] = d_List[i] = d_f16[i] = d_Arguments[i] = d_u32[i] = exp + saved_data;"""))
                .and();
        Result y = call(op, 7.0);
        assertArrayEquals(new double[] {4321}, y.Element().toDoubleArray());
        assertArrayEquals(
                new double[] {5 + 60 + 700 + 8000 + 9e4 + 2e5 + 3e6 + 7e7 + 4e8},
                y.numel().toDoubleArray());
        assertArrayEquals(
                new double[] {5 + 60 + 700 + 8000 + 9e4 + 2e5 + 3e6 + 9e7 + 4e8},
                call(op, null).numel().toDoubleArray());
    }

    private static Result call(Op<Names, Result> op, @Nullable Double rd) {
        Tensor[] t = new Tensor[8];
        for (int i = 0; i < t.length; i++) {
            t[i] = there(i + 1);
        }
        Result y = op.call(new Names(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], 2, 3, rd, new Options(9, 4)));
        Autograd.backward(y.Element().add(y.numel()).sum());
        double[] gradients = new double[8];
        for (int i = 0; i < t.length; i++) {
            gradients[i] = t[i].grad().item();
        }
        assertArrayEquals(new double[] {2, 1, 6, 6, 6, 6, 8, 6}, gradients);
        return y;
    }

    @Test
    void gradientsOfRecordsOfTensorsAreRefusedAtOnce() {
        Op<Outer, Tensor> op = Op.define(LOOKUP, "test::nested", Outer.class, Tensor.class);
        String said = assertThrows(
                        SchemaException.class,
                        () -> op.backward(DeviceType.CUDA, CudaKernel.body("d_y[i] = d_out[i];")))
                .getMessage();
        assertTrue(said.contains("argument 'inner' is a record of tensors"), said);
    }

    private static Op<X, Tensor> twice(String name) {
        return Op.define(LOOKUP, name, X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CUDA, CudaKernel.body("out[i] = 2 * x[i];"));
    }

    /** What is saved has names only when it is there. */
    @Test
    void savedValuesThatWouldHideAGradientAreRefused() {
        Op<X, Tensor> clash = twice("test::saved_clash")
                .saveForBackward((a, out) -> new Clash(a.x()))
                .backward(DeviceType.CUDA, CudaKernel.body("d_x[i] = 2 * d_out[i];"))
                .and();
        String said = assertThrows(
                        SchemaException.class,
                        () -> Autograd.backward(clash.call(new X(there(1))).sum()))
                .getMessage();
        assertTrue(said.contains("backward of test::saved_clash"), said);
        assertTrue(said.contains("are both called 'd_x'") && said.contains("such as 'x_value'"), said);
        Op<X, Tensor> word = twice("test::saved_word")
                .saveForBackward((a, out) -> new Word(a.x()))
                .backward(DeviceType.CUDA, CudaKernel.body("d_x[i] = 2 * d_out[i];"))
                .and();
        said = assertThrows(
                        SchemaException.class,
                        () -> Autograd.backward(word.call(new X(there(1))).sum()))
                .getMessage();
        assertTrue(said.contains("'template'") && said.contains("a word of CUDA C++"), said);
    }

    /** A list within a result is written, and its gradients come in. */
    @Test
    void listsOfAResultHaveTheirNameToo() {
        Op<X, Pair> op = Op.define(LOOKUP, "test::parts", X.class, Pair.class)
                .shape(a -> new Pair(List.of(Tensor.meta(a.x()), Tensor.meta(a.x())), Tensor.meta(a.x())))
                .kernel(
                        DeviceType.CUDA,
                        CudaKernel.body("parts[0][i] = 2 * x[i], parts[1][i] = 3 * x[i], rest[i] = 4 * x[i];"))
                .saveForBackward((a, out) -> null)
                .backward(
                        DeviceType.CUDA,
                        CudaKernel.body("d_x[i] = 2 * d_parts[0][i] + 3 * d_parts[1][i] + 4 * d_rest[i];"))
                .and();
        Tensor x = there(1, 5);
        Pair y = op.call(new X(x));
        assertArrayEquals(new double[] {3, 15}, y.parts().get(1).toDoubleArray());
        Autograd.backward(y.parts().get(1).add(y.rest()).sum());
        assertArrayEquals(new double[] {7, 7}, x.grad().toDoubleArray());
    }

    /** A kernel of Java that is registered for CUDA serves whatever runs what is registered for CUDA, backward too. */
    @Test
    void kernelsOfJavaServeTheSimulatorInBackwardToo() {
        Op<X, Tensor> op = twice("test::java_backward")
                .saveForBackward((a, out) -> null)
                .backward(DeviceType.CUDA, (c, s, g) -> dev.merapi.op.Grads.of("x", g.mul(100)))
                .and();
        Tensor x = there(1);
        Autograd.backward(op.call(new X(x)).sum());
        assertArrayEquals(new double[] {100}, x.grad().toDoubleArray());
    }
}
