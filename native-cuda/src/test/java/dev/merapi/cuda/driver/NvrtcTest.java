// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.cuda.kernels.AttentionKernels;
import dev.merapi.cuda.kernels.ConvolutionTiles;
import dev.merapi.cuda.kernels.CustomKernelFormsTest;
import dev.merapi.cuda.kernels.CustomKernelTest;
import dev.merapi.cuda.kernels.Gemm;
import dev.merapi.cuda.kernels.LookupKernels;
import dev.merapi.cuda.kernels.OptimizerKernels;
import dev.merapi.cuda.kernels.ReduceTest;
import dev.merapi.cuda.kernels.RowForm;
import dev.merapi.cuda.kernels.RowKernels;
import dev.merapi.cuda.kernels.ScanKernels;
import dev.merapi.cuda.launch.TensorLists;
import dev.merapi.cuda.print.BodyPrinter;
import dev.merapi.cuda.print.PointwiseSources;
import dev.merapi.cuda.print.ReducePrinter;
import dev.merapi.cuda.print.ReduceVariant;
import dev.merapi.cuda.runtime.KernelCompileException;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.op.CudaKernel;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.ReduceArgs;
import dev.merapi.ops.ReductionOp;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.Rotation;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every kernel compiles for every architecture that is supported, in turn. Needs NVIDIA's compiler, but no GPU and no driver. Here
 * those that are printed, and products in tiles; {@link NvrtcFamiliesTest} has the others. The two take about as long as each other,
 * so that two processes halve the time.
 */
public class NvrtcTest {
    @BeforeAll
    static void nvrtc() {
        assumeTrue(Nvrtc.get() != null, Nvrtc::unavailableBecause);
    }

    private static final List<Integer> ARCHITECTURES = List.of(80, 90, 100, 120);
    /** Those that this run compiles for, two neighbours a day: {@link #compileInTurn} gives each variant one of two. */
    private static final List<Integer> TODAY = Rotation.slice("architectures for NVRTC", ARCHITECTURES, 2);

    static List<Integer> architectures() {
        return TODAY;
    }

    /** Since which version NVRTC has the option, 1000 · major + minor. */
    private static final int COMPILES_QUICKLY = 12_009;

    /**
     * As a GPU's kernel for one of the architectures, which the source decides; for the others without most of the
     * optimisation, which is what nearly all of the time goes into, and which neither the language nor the assembler asks
     * for.
     */
    static byte[] compile(KernelSource source, int architecture) {
        int turn = Math.floorMod(source.text().hashCode(), ARCHITECTURES.size());
        return compile(source, architecture, ARCHITECTURES.indexOf(architecture) == turn);
    }

    /**
     * Variants of a family, of which each has its turn with every second architecture: two neighbours in the list are all
     * entries for all of them.
     */
    static void compileInTurn(List<KernelSource> variants, int architecture) {
        int at = ARCHITECTURES.indexOf(architecture);
        for (int i = 0; i < variants.size(); i++) {
            KernelSource source = variants.get(i);
            if (at % 2 == i % 2) {
                assertTrue(compile(source, architecture, at / 2 == i / 2 % 2).length > 1000, source.name() + " " + i);
            }
        }
    }

    private static byte[] compile(KernelSource source, int architecture, boolean whole) {
        Nvrtc nvrtc = java.util.Objects.requireNonNull(Nvrtc.get());
        boolean quick = !whole && nvrtc.version() >= COMPILES_QUICKLY;
        return nvrtc.compile(source, architecture, quick ? List.of("--Ofast-compile=mid") : List.of());
    }

    @ParameterizedTest
    @MethodSource("dev.merapi.cuda.driver.NvrtcTest#architectures")
    void pointwiseKernels(int architecture) throws IllegalAccessException {
        // One unit per architecture, with each op in one dtype, and one op in each dtype and layout: the printer has no
        // other dimension.
        Map<String, KernelSource> sources = new LinkedHashMap<>();
        int turn = 0;
        for (PointwiseOp op : PointwiseSources.builtIn().values()) {
            DType[] dtypes = DType.values();
            for (int i = 0; i < dtypes.length; i++) {
                KernelSource s = PointwiseSources.of(op, dtypes[(turn + i) % dtypes.length]);
                if (s != null) {
                    sources.putIfAbsent(s.text(), s);
                    break;
                }
            }
            turn++;
        }
        PointwiseOp mul =
                java.util.Objects.requireNonNull(PointwiseSources.builtIn().get("merapi::mul"));
        for (DType dtype : DType.values()) {
            for (long[][] shapes : new long[][][] {{{64, 64}, {64}}, {{5, 7}, {5, 1}}, {{4, 6, 8}, {8, 6, 4}}}) {
                KernelSource s = PointwiseSources.of(mul, dtype, shapes[0].length == 3 ? 0 : -1, shapes);
                sources.putIfAbsent(java.util.Objects.requireNonNull(s).text(), s);
            }
        }
        List<KernelSource> all = new ArrayList<>(sources.values());
        assertTrue(all.size() > 100, "only " + all.size());
        byte[] cubin = compile(KernelSource.batch("pointwise ops", all), architecture);
        assertEquals("\u007fELF", new String(cubin, 0, 4, java.nio.charset.StandardCharsets.ISO_8859_1));
    }

    @ParameterizedTest
    @MethodSource("dev.merapi.cuda.driver.NvrtcTest#architectures")
    void reductions(int architecture) {
        List<KernelSource> all = new ArrayList<>();
        for (ReductionOp op : ReduceTest.OPS) {
            for (DType dtype : List.of(DType.BFLOAT16, DType.INT64)) {
                if (op == Reductions.MEAN && !dtype.isFloating()) {
                    continue;
                }
                Tensor x = TENSORS.allocate(Shape.of(4, 5), dtype, Device.CPU);
                // Packs of rows for one dtype, single elements and 64-bit indices for the other.
                ReduceVariant rows = new ReduceVariant(
                        true, dtype.isFloating() ? 8 : 1, 1, 1, !dtype.isFloating(), !dtype.isFloating(), 1);
                all.add(ReducePrinter.source(
                        op.toString(), ReduceCode.of(op.op()).specialize(args(x)), rows));
            }
        }
        Tensor x = TENSORS.allocate(Shape.of(4, 5), DType.FLOAT32, Device.CPU);
        ReduceCode variance = (ReduceCode)
                java.util.Objects.requireNonNull(Reductions.VAR.definition().code());
        ReduceVariant rows = new ReduceVariant(true, 4, 1, 1, false, false, 1);
        all.add(ReducePrinter.source("norm", ReduceCode.of(Reductions.NORM.op()).specialize(args(x)), rows));
        for (int pack : new int[] {1, 4}) {
            ReduceVariant columns = new ReduceVariant(false, pack, 2, 2, false, false, 1);
            all.add(ReducePrinter.source("var", variance.specialize(args(x)), columns));
            all.add(ReducePrinter.source(
                    "sum", ReduceCode.of(Reductions.SUM.op()).specialize(args(x)), columns));
        }
        assertTrue(compile(KernelSource.batch("reductions", all), architecture).length > 10_000);
    }

    @ParameterizedTest
    @MethodSource("dev.merapi.cuda.driver.NvrtcTest#architectures")
    void attentionOnTensorCores(int architecture) {
        List<KernelSource> variants = new ArrayList<>();
        for (long width : new long[] {32, 64, 128}) {
            for (DType dtype : List.of(DType.BFLOAT16, DType.FLOAT16)) {
                variants.add(flash(dtype, width, false, 0, false));
            }
        }
        variants.add(flash(DType.BFLOAT16, 64, true, 2, true));
        variants.add(flash(DType.FLOAT16, 128, false, 1, true));
        compileInTurn(variants, architecture);
    }

    private static KernelSource flash(DType dtype, long width, boolean grouped, int mask, boolean dropout) {
        return AttentionKernels.FLASH.source(
                new AttentionKernels.FlashTypes(dtype, width, grouped, mask, dropout).text());
    }

    @ParameterizedTest
    @MethodSource("dev.merapi.cuda.driver.NvrtcTest#architectures")
    void tilesOfProducts(int architecture) {
        List<KernelSource> variants = new ArrayList<>();
        for (Gemm.Variant v : List.of(
                new Gemm.Variant(DType.BFLOAT16, true, true, true, true, Gemm.Tile.LARGE),
                new Gemm.Variant(DType.FLOAT16, false, false, false, true, Gemm.Tile.SMALL),
                new Gemm.Variant(DType.FLOAT32, false, true, true, true, Gemm.Tile.LARGE),
                new Gemm.Variant(DType.FLOAT32, true, false, true, false, Gemm.Tile.LARGE),
                // Operands whose lines are not aligned.
                new Gemm.Variant(DType.BFLOAT16, false, true, false, true, Gemm.Tile.LARGE),
                new Gemm.Variant(DType.FLOAT32, true, true, false, true, Gemm.Tile.LARGE),
                new Gemm.Variant(DType.FLOAT32, false, false, false, false, Gemm.Tile.LARGE),
                new Gemm.Variant(DType.FLOAT32, true, true, false, false, Gemm.Tile.SMALL))) {
            variants.add(Gemm.FAMILY.source(v.types()));
        }
        for (ConvolutionTiles.Variant v : List.of(
                new ConvolutionTiles.Variant(DType.BFLOAT16, 0, false, false, true, false, true, Gemm.Tile.LARGE),
                new ConvolutionTiles.Variant(DType.FLOAT32, 1, true, true, false, false, true, Gemm.Tile.SMALL),
                new ConvolutionTiles.Variant(DType.FLOAT16, 2, false, false, false, false, true, Gemm.Tile.FLAT),
                new ConvolutionTiles.Variant(DType.FLOAT32, 2, false, false, true, true, false, Gemm.Tile.LARGE))) {
            variants.add(ConvolutionTiles.FAMILY.source(v.types()));
        }
        compileInTurn(variants, architecture);
    }

    @ParameterizedTest
    @MethodSource("dev.merapi.cuda.driver.NvrtcTest#architectures")
    void bodies(int architecture) {
        Tensor x = TENSORS.allocate(Shape.of(4, 5), DType.FLOAT32, Device.CPU);
        List<KernelSource> all = new ArrayList<>();
        String rows = "acc_t m = row_max(x[row]); if (t == 0) out[row] = row_sum(m + s) + bias[0];";
        all.add(body(x, new CudaKernel.Elements(256), "out[i] = bias ? x[i] * s + bias[0] : x[i];"));
        all.add(body(x, new CudaKernel.Rows(128), rows));
        all.add(body(x, new CudaKernel.Warps(4), rows));
        all.add(body(x, new CudaKernel.Tiles(16, 16, 16, 16), """
                __shared__ float tile[16][17];
                tile[threadIdx.y][threadIdx.x] = x[row * columns + column];
                __syncthreads();
                if (row < rows && column < columns && plane == 0) out[row * columns + column] = tile[threadIdx.x][0];
                """));
        all.add(body(x, new CudaKernel.Warps(4), CustomKernelFormsTest.SOFTMAX));
        all.add(body(x, new CudaKernel.Elements(64), CustomKernelFormsTest.NAMES_OF_HEADERS));
        all.add(new KernelSource(
                "demo::whole", "typedef float scalar_t;\n" + CustomKernelTest.WHOLE_SOFTMAX, List.of("softmax")));
        for (KernelSource source : all) {
            assertTrue(compile(source, architecture).length > 1000, source.name());
        }
    }

    private static KernelSource body(Tensor x, CudaKernel.Launch launch, String statements) {
        BodyPrinter body = new BodyPrinter("demo::body", statements, launch, DType.FLOAT32);
        body.tensor("out", x, true);
        body.unwanted("other");
        body.tensor("x", x.transpose(0, 1), false);
        body.tensors("xs", List.of(x, x), false);
        body.tensor("Input", x, false); // called as what the next one is made of
        body.tensor("List", x, false);
        body.tensor("max", x, false);
        body.scalar("s", 0.5);
        body.array("dims", false, 3);
        body.absent("bias");
        return new KernelSource("demo::body", body.text(), List.of("body"));
    }

    /** That a pack is one load of 16 bytes, and stays in registers, C++ does not promise: the compiler's text shows it. */
    @Test
    void packsAreSingleLoads() {
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
            int pack = 16 / dtype.byteSize();
            Tensor x = TENSORS.allocate(Shape.of(4, 5), dtype, Device.CPU);
            ReduceCode.Specialized sum = ReduceCode.of(Reductions.SUM.op()).specialize(args(x));
            for (boolean rows : new boolean[] {true, false}) {
                ReduceVariant variant = new ReduceVariant(rows, pack, 1, 1, false, false, 1);
                assertSingleLoads(ReducePrinter.source("sum", sum, variant), 4);
            }
            String types = new RowForm.Types(dtype, pack, 32 / pack).text();
            assertSingleLoads(RowKernels.SOFTMAX.source(types), 3 * (32 / pack));
            assertSingleLoads(RowKernels.NORMS.source(types), 4 * (32 / pack));
            assertSingleLoads(RowKernels.LOSSES.source(new RowForm.Types(dtype, pack, 0).text()), 8);
            assertSingleLoads(
                    LookupKernels.FAMILY.source(
                            new LookupKernels.Types(dtype.byteSize(), DType.INT64, pack, false).text()),
                    1);
        }
        assertSingleLoads(
                OptimizerKernels.FAMILY.source(new OptimizerKernels.Types(DType.FLOAT32, TensorLists.FEW).text()), 12);
        assertSingleLoads(
                ScanKernels.FAMILY.source(new ScanKernels.Types(DType.FLOAT32, DType.FLOAT32, true, false).text()), 1);
    }

    private static void assertSingleLoads(KernelSource source, int least) {
        // An architecture that is newer than any: there text comes out.
        Nvrtc nvrtc = java.util.Objects.requireNonNull(Nvrtc.get());
        String ptx = new String(nvrtc.compile(source, 999, List.of()), java.nio.charset.StandardCharsets.ISO_8859_1);
        long loads = Pattern.compile("ld\\.global(\\.\\w+)*\\.(v4\\.\\w32|v2\\.\\w64)")
                .matcher(ptx)
                .results()
                .count();
        assertTrue(loads >= least, source.name() + ": " + loads + " loads of 16 bytes instead of " + least);
        assertFalse(ptx.contains("ld.local"), source.name() + " has arrays in memory");
    }

    public static ReduceArgs args(Tensor x) {
        return new ReduceArgs.X(x, new int[] {1}, false, null, List.of());
    }

    /** Kernels are compiled without what few need, but those few as well. */
    @Test
    void texturesAreKnown() {
        String text = "extern \"C\" __global__ void k(cudaTextureObject_t t, float* y) {\n"
                + "    y[0] = tex2D<float>(t, 0, 0);\n}\n";
        assertTrue(compile(new KernelSource("demo::texture", text, List.of("k")), 90).length > 1000);
    }

    @Test
    void errorsNameTheLine() {
        KernelSource bad = new KernelSource(
                "demo::bad",
                "extern \"C\" __global__ void k(float* x) {\n#line 1 \"demo::bad (body)\"\n    x[1] = 0;\n    x[0] = y;\n}\n",
                List.of("k"));
        KernelCompileException e = assertThrows(KernelCompileException.class, () -> compile(bad, 90));
        assertTrue(e.getMessage().contains("\ndemo::bad (body):2: error: "), e.getMessage());
        assertTrue(e.getMessage().contains("\n    > x[0] = y;"), e.getMessage());
    }
}
