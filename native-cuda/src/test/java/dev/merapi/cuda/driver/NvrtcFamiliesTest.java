// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.cuda.kernels.AttentionKernels;
import dev.merapi.cuda.kernels.ConvolutionTiles;
import dev.merapi.cuda.kernels.CreationKernels;
import dev.merapi.cuda.kernels.CumulativeKernels;
import dev.merapi.cuda.kernels.Gemm;
import dev.merapi.cuda.kernels.ImageKernels;
import dev.merapi.cuda.kernels.IndexKernels;
import dev.merapi.cuda.kernels.LookupKernels;
import dev.merapi.cuda.kernels.MatmulKernels;
import dev.merapi.cuda.kernels.OptimizerKernels;
import dev.merapi.cuda.kernels.OrderingKernels;
import dev.merapi.cuda.kernels.RadixSort;
import dev.merapi.cuda.kernels.RandomKernels;
import dev.merapi.cuda.kernels.RowForm;
import dev.merapi.cuda.kernels.RowKernels;
import dev.merapi.cuda.kernels.ScanKernels;
import dev.merapi.cuda.kernels.ScatterKernels;
import dev.merapi.cuda.kernels.SegmentKernels;
import dev.merapi.cuda.kernels.TransposeKernel;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.TensorLists;
import dev.merapi.cuda.print.PointwiseSources;
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
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** As {@link NvrtcTest}, for the other kernels that are written by hand. */
class NvrtcFamiliesTest {
    @BeforeAll
    static void nvrtc() {
        assumeTrue(Nvrtc.get() != null, Nvrtc::unavailableBecause);
    }

    @ParameterizedTest
    @MethodSource("dev.merapi.cuda.driver.NvrtcTest#architectures")
    void structuredKernels(int architecture) {
        // Two of each.
        List<KernelSource> pairs = new ArrayList<>();
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
            pairs.add(MatmulKernels.FAMILY.source(Family.type("T", dtype)));
        }
        pairs.add(OptimizerKernels.FAMILY.source(new OptimizerKernels.Types(DType.FLOAT16, TensorLists.FEW).text()));
        pairs.add(OptimizerKernels.FAMILY.source(new OptimizerKernels.Types(DType.FLOAT32, TensorLists.MANY).text()));
        pairs.add(RandomKernels.FLOATING.source(RandomKernels.types(DType.BFLOAT16)));
        pairs.add(RandomKernels.FLOATING.source(RandomKernels.types(DType.FLOAT64)));
        pairs.add(IndexKernels.FAMILY.source(new IndexKernels.Types(DType.FLOAT16, DType.INT32).text()));
        pairs.add(IndexKernels.FAMILY.source(new IndexKernels.Types(DType.BOOL, DType.INT64).text()));
        pairs.add(ScatterKernels.FAMILY.source(new IndexKernels.Types(DType.FLOAT32, DType.INT32).text()));
        pairs.add(ScatterKernels.FAMILY.source(new IndexKernels.Types(DType.INT64, DType.INT64).text()));
        pairs.add(LookupKernels.FAMILY.source(new LookupKernels.Types(2, DType.INT64, 8, false).text()));
        pairs.add(LookupKernels.FAMILY.source(new LookupKernels.Types(8, DType.INT32, 1, true).text()));
        pairs.add(CreationKernels.FAMILY.source(Family.type("T", DType.FLOAT32)));
        pairs.add(CreationKernels.FAMILY.source(Family.type("T", DType.BOOL)));
        pairs.add(ScanKernels.FAMILY.source(new ScanKernels.Types(DType.BFLOAT16, DType.BFLOAT16, true, false).text()));
        pairs.add(CumulativeKernels.FAMILY.source(new CumulativeKernels.Types(DType.BOOL, DType.INT64, 0).text()));
        pairs.add(CumulativeKernels.FAMILY.source(new CumulativeKernels.Types(DType.FLOAT64, DType.FLOAT64, 1).text()));
        pairs.add(
                CumulativeKernels.FAMILY.source(new CumulativeKernels.Types(DType.BFLOAT16, DType.BFLOAT16, 2).text()));
        pairs.add(ScanKernels.FAMILY.source(new ScanKernels.Types(DType.BOOL, DType.INT64, false, true).text()));
        // Elements: rowsStayInRegisters has packs.
        for (int kept : new int[] {8, 0}) {
            RowForm.Types elements = new RowForm.Types(DType.BFLOAT16, 1, kept);
            pairs.add(RowKernels.NORMS.source(elements.text()));
        }
        for (int kept : new int[] {8, 0}) {
            pairs.add(RowKernels.LOSSES.source(new RowForm.Types(DType.FLOAT32, 1, kept).text()));
        }
        for (boolean columns : new boolean[] {false, true}) {
            pairs.add(RowKernels.SOFTMAX.source(new RowForm.Types(DType.BFLOAT16, 1, 8, columns).text()));
        }
        NvrtcTest.compileInTurn(pairs, architecture);
        List<KernelSource> all = new ArrayList<>();
        all.add(ImageKernels.FAMILY.source(Family.type("T", DType.BFLOAT16)));
        all.add(TransposeKernel.FAMILY.source(TransposeKernel.types(2)));
        all.add(AttentionKernels.FAMILY.source(Family.type("T", DType.BFLOAT16)));
        all.add(RandomKernels.INTEGRAL.source(RandomKernels.types(DType.BOOL)));
        // Others of these are in keysStayInRegisters.
        all.add(SegmentKernels.FAMILY.source(new SegmentKernels.Types(DType.BOOL, DType.INT32, 1).text()));
        all.add(OrderingKernels.FAMILY.source(new OrderingKernels.Types(DType.FLOAT32, 4).text()));
        // One by one, under their own names: those of the device's own functions are taken.
        Tensor x = TENSORS.allocate(Shape.of(4, 5), DType.FLOAT32, Device.CPU);
        all.add(ReducePrinter.source(
                "sum",
                ReduceCode.of(Reductions.SUM.op()).specialize(NvrtcTest.args(x)),
                new ReduceVariant(true, 4, 1, 1, false, false, 1)));
        all.add(java.util.Objects.requireNonNull(PointwiseSources.of(dev.merapi.ops.Activations.GELU, DType.FLOAT32)));
        for (KernelSource source : all) {
            assertTrue(NvrtcTest.compile(source, architecture).length > 1000, source.name());
        }
    }

    /**
     * No kernel of rows or columns has memory of its own, be it for arrays that are indexed or for what registers lack. Packs:
     * these keep the most registers busy.
     */
    @ParameterizedTest
    @ValueSource(ints = {80, 90})
    void rowsStayInRegisters(int architecture) {
        List<RowForm.Types> forms = new ArrayList<>();
        forms.add(new RowForm.Types(DType.FLOAT32, 4, 8));
        forms.add(new RowForm.Types(DType.BFLOAT16, 8, 4));
        forms.add(new RowForm.Types(DType.BFLOAT16, 8, 0));
        if (architecture == 90) {
            // There exp() of float64 takes more.
            forms.add(new RowForm.Types(DType.FLOAT64, 2, 0));
        }
        for (RowForm.Types rows : forms) {
            for (Family family : List.of(RowKernels.SOFTMAX, RowKernels.NORMS, RowKernels.LOSSES)) {
                inRegisters(family.source(rows.text()), architecture, rows);
            }
            RowForm.Types columns = new RowForm.Types(rows.dtype(), rows.pack(), rows.kept(), true);
            inRegisters(RowKernels.SOFTMAX.source(columns.text()), architecture, columns);
        }
    }

    /** Nor has sorting, of which each thread holds up to 16 keys and what becomes of them, and summing by sorted keys. */
    @ParameterizedTest
    @MethodSource("dev.merapi.cuda.driver.NvrtcTest#architectures")
    void keysStayInRegisters(int architecture) {
        for (DType key : List.of(DType.INT32, DType.INT64)) {
            inRegisters(RadixSort.FAMILY.source(RadixSort.types(key)), architecture, key);
            OrderingKernels.Types types = new OrderingKernels.Types(key, 16);
            inRegisters(OrderingKernels.FAMILY.source(types.text()), architecture, types);
        }
        for (DType dtype : List.of(DType.BFLOAT16, DType.FLOAT32)) {
            SegmentKernels.Types types = new SegmentKernels.Types(dtype, DType.INT64, 4);
            inRegisters(SegmentKernels.FAMILY.source(types.text()), architecture, types);
        }
    }

    /** Two groups of sums, of scores and of queries: with heads of 64 or 128 elements that is what a thread can hold. */
    @ParameterizedTest
    @ValueSource(longs = {64, 128})
    void attentionStaysInRegisters(long width) {
        AttentionKernels.FlashTypes types = new AttentionKernels.FlashTypes(DType.BFLOAT16, width, false, 0, false);
        inRegisters(AttentionKernels.FLASH.source(types.text()), 90, types);
    }

    /** Nor has the gradient of a convolution whose elements wait in registers for their turn, one by one. */
    @Test
    void elementsThatWaitStayInRegisters() {
        ConvolutionTiles.Variant v =
                new ConvolutionTiles.Variant(DType.BFLOAT16, 1, false, false, false, false, true, Gemm.Tile.FLAT);
        inRegisters(ConvolutionTiles.FAMILY.source(v.types()).only("convolve_tiles"), 90, v);
    }

    private static void inRegisters(KernelSource source, int architecture, Object types) {
        byte[] image = java.util.Objects.requireNonNull(Nvrtc.get()).compile(source, architecture);
        Map<String, Cubin.Use> uses = Cubin.uses(image);
        assertTrue(uses.keySet().containsAll(source.entries()), uses.toString());
        uses.forEach((kernel, use) -> assertEquals(0, use.stack(), kernel + " of " + types + " has local memory"));
    }
}
