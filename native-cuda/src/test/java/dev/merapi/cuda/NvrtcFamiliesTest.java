// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.op.CudaKernel;
import dev.merapi.ops.Reductions;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** As {@link NvrtcTest}, for the kernels that are written by hand. A class of its own, so that both can run at once. */
class NvrtcFamiliesTest {
    @BeforeAll
    static void nvrtc() {
        assumeTrue(Nvrtc.get() != null, Nvrtc::unavailableBecause);
    }

    @ParameterizedTest
    @ValueSource(ints = {80, 90, 100, 120})
    void tilesOfProducts(int architecture) {
        for (Gemm.Variant v : List.of(
                new Gemm.Variant(DType.BFLOAT16, true, true, true, true, Gemm.Tile.LARGE),
                new Gemm.Variant(DType.FLOAT16, false, false, false, true, Gemm.Tile.SMALL),
                new Gemm.Variant(DType.FLOAT32, false, true, true, true, Gemm.Tile.LARGE),
                new Gemm.Variant(DType.FLOAT32, true, false, true, false, Gemm.Tile.LARGE))) {
            KernelSource source = Gemm.FAMILY.source(v.types());
            assertTrue(NvrtcTest.compile(source, architecture).length > 1000, v.toString());
        }
        for (ConvolutionTiles.Variant v : List.of(
                new ConvolutionTiles.Variant(DType.BFLOAT16, 0, false, false, true, false, true, Gemm.Tile.LARGE),
                new ConvolutionTiles.Variant(DType.FLOAT32, 1, true, true, false, false, true, Gemm.Tile.SMALL),
                new ConvolutionTiles.Variant(DType.FLOAT16, 2, false, false, false, false, true, Gemm.Tile.FLAT),
                new ConvolutionTiles.Variant(DType.FLOAT32, 2, false, false, true, true, false, Gemm.Tile.LARGE))) {
            KernelSource source = ConvolutionTiles.FAMILY.source(v.types());
            assertTrue(NvrtcTest.compile(source, architecture).length > 1000, v.toString());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {80, 90, 100, 120})
    void attentionOnTensorCores(int architecture) {
        for (String types : List.of(
                new AttentionKernels.FlashTypes(DType.BFLOAT16, 64).text(),
                new AttentionKernels.FlashTypes(DType.FLOAT16, 128).text())) {
            assertTrue(NvrtcTest.compile(AttentionKernels.FLASH.source(types), architecture).length > 1000, types);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {80, 90, 100, 120})
    void structuredKernels(int architecture) {
        List<KernelSource> all = new ArrayList<>();
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
            all.add(MatmulKernels.FAMILY.source(Family.type("T", dtype)));
        }
        // Packs that are kept, elements that are, and packs of rows that are read again.
        RowForm.Types packs = new RowForm.Types(DType.FLOAT32, 4, 8);
        RowForm.Types elements = new RowForm.Types(DType.BFLOAT16, 1, 8);
        RowForm.Types again = new RowForm.Types(DType.BFLOAT16, 8, 0);
        all.add(RowKernels.SOFTMAX.source(packs.text()));
        all.add(RowKernels.NORMS.source(packs.text()));
        all.add(RowKernels.SOFTMAX.source(elements.text()));
        all.add(RowKernels.NORMS.source(elements.text()));
        all.add(RowKernels.LOSSES.source(again.text()));
        all.add(ImageKernels.FAMILY.source(Family.type("T", DType.BFLOAT16)));
        all.add(TransposeKernel.FAMILY.source(TransposeKernel.types(2)));
        all.add(AttentionKernels.FAMILY.source(Family.type("T", DType.BFLOAT16)));
        all.add(OptimizerKernels.FAMILY.source(Family.type("T", DType.FLOAT16)));
        all.add(RandomKernels.FLOATING.source(RandomKernels.types(DType.BFLOAT16)));
        all.add(RandomKernels.FLOATING.source(RandomKernels.types(DType.FLOAT64)));
        all.add(RandomKernels.INTEGRAL.source(RandomKernels.types(DType.BOOL)));
        all.add(IndexKernels.FAMILY.source(new IndexKernels.Types(DType.FLOAT16, DType.INT32).text()));
        all.add(IndexKernels.FAMILY.source(new IndexKernels.Types(DType.BOOL, DType.INT64).text()));
        all.add(OrderingKernels.FAMILY.source(Family.type("T", DType.FLOAT32)));
        all.add(OrderingKernels.FAMILY.source(Family.type("T", DType.INT64)));
        all.add(CreationKernels.FAMILY.source(new CreationKernels.Types(DType.FLOAT32, DType.FLOAT32).text()));
        all.add(CreationKernels.FAMILY.source(new CreationKernels.Types(DType.BOOL, DType.INT64).text()));
        // One by one, under their own names: those of the device's own functions are taken.
        Tensor x = Tensor.allocate(Shape.of(4, 5), DType.FLOAT32, Device.CPU);
        all.add(ReducePrinter.source(
                "sum",
                Reductions.SUM.code().specialize(NvrtcTest.args(x)),
                new ReduceVariant(true, 4, 1, 1, false, false, 1)));
        all.add(java.util.Objects.requireNonNull(PointwiseSources.of(dev.merapi.ops.Activations.GELU, DType.FLOAT32)));
        for (KernelSource source : all) {
            assertTrue(NvrtcTest.compile(source, architecture).length > 1000, source.name());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {80, 120})
    void bodies(int architecture) {
        Tensor x = Tensor.allocate(Shape.of(4, 5), DType.FLOAT32, Device.CPU);
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
            assertTrue(NvrtcTest.compile(source, architecture).length > 1000, source.name());
        }
    }

    private static KernelSource body(Tensor x, CudaKernel.Launch launch, String statements) {
        BodyPrinter body = new BodyPrinter("demo::body", statements, launch, DType.FLOAT32);
        body.tensor("out", x, true);
        body.unwanted("other");
        body.tensor("x", x.transpose(0, 1), false);
        body.tensors("xs", List.of(x, x), false);
        body.scalar("s", 0.5);
        body.array("dims", false, 3);
        body.absent("bias");
        return new KernelSource("demo::body", body.text(), List.of("body"));
    }
}
