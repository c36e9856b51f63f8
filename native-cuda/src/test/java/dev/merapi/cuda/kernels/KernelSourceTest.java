// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.cuda.driver.NvrtcTest;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.print.ReducePrinter;
import dev.merapi.cuda.print.ReduceVariant;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Sources that are compiled entry by entry. */
class KernelSourceTest {
    /** But for random numbers, whose two families share a text. */
    private static final List<Family> FAMILIES = List.of(
            RowKernels.SOFTMAX,
            RowKernels.NORMS,
            RowKernels.LOSSES,
            AttentionKernels.FAMILY,
            AttentionKernels.FLASH,
            ConvolutionTiles.FAMILY,
            CreationKernels.FAMILY,
            Gemm.FAMILY,
            ImageKernels.FAMILY,
            IndexKernels.FAMILY,
            LookupKernels.FAMILY,
            MatmulKernels.FAMILY,
            OptimizerKernels.FAMILY,
            OrderingKernels.FAMILY,
            ScanKernels.FAMILY,
            CumulativeKernels.FAMILY,
            ScatterKernels.FAMILY,
            SegmentKernels.FAMILY,
            TransposeKernel.FAMILY);

    @Test
    void eachEntryStandsAlone() {
        List<KernelSource> all = new ArrayList<>();
        FAMILIES.forEach(f -> all.add(f.source("typedef float T;\n")));
        Tensor x = TENSORS.allocate(Shape.of(4, 5), DType.FLOAT32, Device.CPU);
        ReduceVariant rows = new ReduceVariant(true, 4, 1, 1, false, false, 1);
        all.add(ReducePrinter.source("sum", ReduceCode.of(Reductions.SUM.op()).specialize(NvrtcTest.args(x)), rows));
        for (KernelSource source : all) {
            for (String entry : source.entries()) {
                KernelSource only = source.only(entry);
                assertEquals(List.of(entry), only.entries());
                assertEquals(1, count(only.text(), "\n(extern \"C\" )?__global__ "), source.name() + ": " + entry);
                assertEquals(1, count(only.text(), "\\b" + entry + "\\("), source.name() + ": " + entry);
                // So that messages name the right ones.
                assertEquals(count(source.text(), "\n"), count(only.text(), "\n"), source.name());
                assertTrue(
                        only.text().length() < source.text().length()
                                || source.entries().size() == 1,
                        entry);
            }
        }
    }

    @Test
    void helpersStay() {
        String a = "extern \"C\" __global__ void __launch_bounds__(256, 2)\n    a(int n) {\n    if (n) {\n    }\n}\n";
        String b = "extern \"C\" __global__ void b(int* n) { *n = f(); }\n";
        KernelSource both =
                new KernelSource("both", a + "int f() {\n    return 1;\n}\n" + b + "// end\n", List.of("a", "b"));
        assertEquals(
                "\n\n\n\n\nint f() {\n    return 1;\n}\n" + b + "// end\n",
                both.only("b").text());
        assertEquals(
                a + "int f() {\n    return 1;\n}\n\n// end\n", both.only("a").text());
        KernelSource one = new KernelSource("one", a + b, List.of("a"));
        assertSame(one, one.only("a"));
    }

    /** Compilers write a place in two ways; users read one. */
    @Test
    void messagesAreOfOneForm() {
        KernelSource body = new KernelSource(
                "demo::wrong",
                "#line 1 \"demo::wrong (body)\"\nfloat a = x[i];\nout[i] = a + missing;\n",
                List.of("wrong"));
        String gcc = "demo::wrong (body):2:14: error: 'missing' was not declared in this scope";
        String line = "\n    > out[i] = a + missing;";
        assertEquals(gcc + line, body.explained(gcc));
        assertEquals(
                "demo::wrong (body):2: error: identifier \"missing\" is undefined" + line
                        + "\n  out[i] = a + missing;\n               ^\n\n1 error detected",
                body.explained("demo::wrong (body)(2): error: identifier \"missing\" is undefined\n"
                        + "  out[i] = a + missing;\n               ^\n\n1 error detected"));
        assertEquals(
                "demo::wrong (body):1: error #20: f(3): x" + "\n    > float a = x[i];",
                body.explained("demo::wrong (body)(1): error #20: f(3): x"));
        assertEquals("call of f(3) at f(x)", body.explained("call of f(3) at f(x)"), "no place");
    }

    private static long count(String text, String pattern) {
        return java.util.regex.Pattern.compile(pattern).matcher(text).results().count();
    }
}
