// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.cuda.CudaSim;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.KernelCompileException;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.error.SchemaException;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.lang.invoke.MethodHandles;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Launch shapes, and the kinds of arguments and results that kernels of one's own can have; all with checks. */
@Tag("kernels")
public class CustomKernelFormsTest {
    private static final MethodHandles.Lookup LOOKUP = MethodHandles.lookup();

    record One(Tensor x) {}

    record Two(Tensor y, Tensor sums) {}

    enum Mode {
        PLAIN,
        SHIFTED
    }

    record Eps(double value, boolean squared) {}

    record Scalars(
            Tensor x,
            long wide,
            int narrow,
            double real,
            boolean flag,
            Number any,
            Mode mode,
            DType dtype,
            long[] dims,
            List<Double> weights,
            @Nullable Double missing,
            Optional<Long> given,
            Eps eps) {}

    record Several(List<Tensor> xs, Tensor last) {}

    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    @BeforeEach
    void on() {
        CudaSim.setChecks(!Simulator.BY_A_DRIVER);
        CudaSim.setOrder(9);
    }

    @AfterEach
    void off() {
        CudaSim.setChecks(false);
        CudaSim.setOrder(0);
    }

    private static Op<One, Tensor> unary(String name, CudaKernel kernel) {
        return Op.define(LOOKUP, name, One.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CUDA, kernel)
                .nonDifferentiable();
    }

    private static double[] run(Op<One, Tensor> op, Tensor x) {
        return op.call(new One(x.to(Simulator.DEVICE))).toDoubleArray();
    }

    // ---------------------------------------------------------------- launch shapes of bodies

    public static final String SOFTMAX = """
            acc_t largest = -INFINITY, sum = 0;
            for (long long c = t; c < columns; c += threads) largest = fmax(largest, x[row * columns + c]);
            largest = row_max(largest);
            for (long long c = t; c < columns; c += threads) sum += exp(x[row * columns + c] - largest);
            sum = row_sum(sum);
            for (long long c = t; c < columns; c += threads)
                out[row * columns + c] = exp(x[row * columns + c] - largest) / sum;
            """;

    @Test
    void aBlockOrAWarpForEachRow() {
        for (CudaKernel.Launch launch : List.of(new CudaKernel.Rows(96), new CudaKernel.Warps(2))) {
            Op<One, Tensor> op = unary(
                    "test::softmax_" + launch.getClass().getSimpleName().toLowerCase(java.util.Locale.ROOT),
                    CudaKernel.body(SOFTMAX).launch(launch));
            for (DType dtype : List.of(DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16)) {
                for (long[] shape : new long[][] {{7, 100}, {1, 1}, {3, 5, 33}, {40}}) {
                    Tensor x = PointwiseTest.random(dtype, 1, shape);
                    double[] expected = x.to(DType.FLOAT64).softmax(-1).toDoubleArray();
                    assertArrayEquals(expected, run(op, x), 2 * dtype.epsilon() + 1e-6, launch + " " + dtype);
                }
            }
        }
    }

    /** No header is at hand on a GPU's machine; what kernels use of them is there all the same. */
    public static final String NAMES_OF_HEADERS = """
            const int64_t big = LLONG_MAX;
            const uint32_t all = UINT_MAX;
            const float largest = fminf(INFINITY, FLT_MAX);
            out[i] = isnan(NAN) && largest < INFINITY && big > INT_MAX && all == 0xffffffffu && DBL_MAX > FLT_MAX
                    ? acc_t(M_PI) + x[i] : acc_t(0);
            """;

    @Test
    void namesOfHeadersAreKnown() {
        Op<One, Tensor> op = unary("test::names_of_headers", CudaKernel.body(NAMES_OF_HEADERS));
        assertArrayEquals(new double[] {1 + Math.PI}, run(op, Tensor.of(1f)), 1e-6);
    }

    @Test
    void tilesOfAMatrix() {
        String transpose = """
                __shared__ float tile[16][17];
                if (row < rows && column < columns) tile[threadIdx.y][threadIdx.x] = x[(plane * rows + row) * columns + column];
                __syncthreads();
                const long long r = column0 + threadIdx.y, c = row0 + threadIdx.x;
                if (r < columns && c < rows) out[(plane * columns + r) * rows + c] = tile[threadIdx.x][threadIdx.y];
                """;
        Op<One, Tensor> op = Op.define(LOOKUP, "test::transposed", One.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CUDA, CudaKernel.body(transpose).launch(new CudaKernel.Tiles(16, 16, 16, 16)))
                .nonDifferentiable();
        Tensor x = PointwiseTest.random(DType.FLOAT32, 1, 3, 37, 21);
        assertArrayEquals(x.transpose(1, 2).contiguous().toDoubleArray(), run(op, x));
    }

    @Test
    void aGridOfOnesOwn() {
        CudaKernel kernel = CudaKernel.body(
                        "if (threadIdx.x == 0 && blockIdx.x < n) out[blockIdx.x] = 2 * x[blockIdx.x];")
                .launch(new CudaKernel.Explicit(
                        (args, out) -> new CudaKernel.Grid(((One) args).x().numel() + 3, 32)));
        assertArrayEquals(new double[] {2, 4, 6}, run(unary("test::explicit", kernel), Tensor.of(1.0, 2.0, 3.0)));
    }

    // ---------------------------------------------------------------- arguments

    private static final String SCALARS = """
            out[i] = x[i] + wide + narrow * 10 + real + (flag ? 100 : 0) + any + mode * 1000 + dtype
                + dims[0] * dims[dims.count - 1] + weights[1] + (has_missing ? 1e6 : missing)
                + (has_given ? given : 1e6) + eps_value * (eps_squared ? 2 : 1);""";

    @Test
    void plainArgumentsOfAllKinds() {
        Op<Scalars, Tensor> op = Op.define(LOOKUP, "test::scalars", Scalars.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CUDA, CudaKernel.body(SCALARS))
                .nonDifferentiable();
        Tensor x = Tensor.of(0.0, 0.5).to(DType.FLOAT64).to(Simulator.DEVICE);
        for (Number any : new Number[] {3L, 0.25}) {
            Scalars args = new Scalars(
                    x,
                    1L << 33,
                    4,
                    0.125,
                    true,
                    any,
                    Mode.SHIFTED,
                    DType.FLOAT64,
                    new long[] {3, 5, 7},
                    List.of(1.0, 0.75),
                    null,
                    Optional.of(11L),
                    new Eps(16, true));
            double sum = (double) (1L << 33)
                    + 40
                    + 0.125
                    + 100
                    + any.doubleValue()
                    + 1000
                    + DType.FLOAT64.ordinal()
                    + 21
                    + 0.75
                    + 11
                    + 32;
            assertArrayEquals(new double[] {sum, sum + 0.5}, op.call(args).toDoubleArray());
        }
    }

    @Test
    void listsOfTensors() {
        String sum = """
                acc_t all = last[i];
                for (int k = 0; k < xs.count; k++) all += xs[k][i];
                out[i] = all;""";
        Op<Several, Tensor> op = Op.define(LOOKUP, "test::sum_of_list", Several.class, Tensor.class)
                .shape(a -> Tensor.meta(a.last()))
                .kernel(DeviceType.CUDA, CudaKernel.body(sum))
                .nonDifferentiable();
        Tensor x = Tensor.of(1.0, 2.0).to(Simulator.DEVICE);
        for (int count : new int[] {0, 1, 5}) {
            Tensor y = op.call(new Several(java.util.Collections.nCopies(count, x), x));
            assertArrayEquals(new double[] {count + 1, 2 * count + 2}, y.toDoubleArray());
        }
        Op<Several, Tensor> whole = Op.define(LOOKUP, "test::second_of_list", Several.class, Tensor.class)
                .shape(a -> Tensor.meta(a.last()))
                .kernel(
                        DeviceType.CUDA,
                        CudaKernel.source("k", """
                                extern "C" __global__ void k(const xs_t* x, long long count, long long n, last_t* out) {
                                    if (threadIdx.x < n) out[threadIdx.x] = x[threadIdx.x] * count;
                                }""").arguments("xs[1]", "xs.count", "xs[1].numel", "out"))
                .nonDifferentiable();
        assertArrayEquals(
                new double[] {3, 6},
                whole.call(new Several(List.of(x, x, x), x)).toDoubleArray());
        SchemaException e = assertThrows(SchemaException.class, () -> whole.call(new Several(List.of(x), x)));
        assertTrue(e.getMessage().contains("asks for an argument 'xs[1]'"), e.getMessage());
    }

    @Test
    void severalOutputsAndZeros() {
        Op<One, Two> op = Op.define(LOOKUP, "test::two", One.class, Two.class)
                .shape(a -> new Two(Tensor.meta(a.x()), Tensor.meta(a.x(), dev.merapi.types.Shape.of(a.x().size(1)))))
                .kernel(
                        DeviceType.CUDA,
                        CudaKernel.body("y[i] = -x[i];\natomicAdd(&sums.data[i % sums.numel], x[i]);")
                                .zeroed("sums"))
                .nonDifferentiable();
        Tensor x = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
        Two found = op.call(new One(x.to(Simulator.DEVICE)));
        assertArrayEquals(new double[] {-1, -2, -3, -4, -5, -6}, found.y().toDoubleArray());
        assertArrayEquals(new double[] {5, 7, 9}, found.sums().toDoubleArray());
        Op<One, Tensor> wrong =
                unary("test::zeroes_input", CudaKernel.body("out[i] = 0;").zeroed("x"));
        SchemaException e = assertThrows(SchemaException.class, () -> run(wrong, x));
        assertTrue(e.getMessage().contains("fills 'x' with zeros, which is no output"), e.getMessage());
    }

    @Test
    void typesOfEachTensor() {
        String source = """
                extern "C" __global__ void k(out_t* out, const x_t* x, long long n) {
                    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
                    static_assert(sizeof(out_t) == sizeof(scalar_t), "");
                    if (i < n) merapi::wr(out[i], (acc_t)(2 * merapi::rd(x[i])));
                }""";
        Op<One, Tensor> op = unary("test::typed", CudaKernel.source("k", source));
        for (DType dtype : List.of(DType.FLOAT32, DType.FLOAT64, DType.FLOAT16)) {
            assertArrayEquals(new double[] {2, 5}, run(op, Tensor.of(1.0, 2.5).to(dtype)), dtype.toString());
        }
    }

    @Test
    void namesThatAreTaken() {
        record Taken(Tensor n) {}
        SchemaException e = assertThrows(
                SchemaException.class,
                () -> Op.define(LOOKUP, "test::taken", Taken.class, Tensor.class)
                        .kernel(DeviceType.CUDA, CudaKernel.body("out[i] = 0;")));
        assertTrue(e.getMessage().contains("argument 'n' is called 'n'"), e.getMessage());
        assertTrue(e.getMessage().contains("such as 'n_value'"), e.getMessage());
    }

    // ---------------------------------------------------------------- what the author sees

    @Test
    void compileErrorsShowTheLineAndWhereItWasWritten() {
        Op<One, Tensor> body = unary("test::wrong_body", CudaKernel.body("auto v = x[i];\nout[i] = v + missing;"));
        String said = assertThrows(KernelCompileException.class, () -> run(body, Tensor.of(1.0)))
                .getMessage();
        assertThat(said).containsPattern("test::wrong_body \\(body\\)[:(]2[:)]");
        assertTrue(said.contains("> out[i] = v + missing;"), said);
        assertTrue(said.contains("written at: CustomKernelFormsTest.java:"), said);
        Op<One, Tensor> whole = unary(
                "test::wrong_source",
                CudaKernel.source("k", "extern \"C\" __global__ void k(float* out) {\n  oops;\n}"));
        said = assertThrows(KernelCompileException.class, () -> run(whole, Tensor.of(1.0)))
                .getMessage();
        assertThat(said).containsPattern("test::wrong_source[:(]2[:)]");
        assertTrue(said.contains("> oops;"), said);
    }

    @Test
    void verbosePrintsWhatIsCompiled() {
        PrintStream before = System.out;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
        try {
            run(unary("test::verbose", CudaKernel.body("out[i] = x[i] + 41;").verbose()), Tensor.of(1.0));
        } finally {
            System.setOut(before);
        }
        String text = printed.toString(StandardCharsets.UTF_8);
        assertTrue(text.contains("// test::verbose, CustomKernelFormsTest.java:"), text);
        assertTrue(text.contains("Input<double, true> operand_x;") && text.contains("out[i] = x[i] + 41;"), text);
    }

    @Test
    void imagesThatWereCompiledElsewhere() {
        assumeTrue(Simulator.BY_A_DRIVER, "skipped: the simulator runs sources");
        KernelSource source = new KernelSource(
                "test::image",
                "extern \"C\" __global__ void k(double* out, const double* x, long long n) {\n"
                        + "  long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;\n"
                        + "  if (i < n) out[i] = 3 * x[i];\n}\n",
                List.of("k"));
        Op<One, Tensor> op = unary("test::compiled_image", CudaKernel.image("k", Simulator.image(source)));
        assertArrayEquals(new double[] {3, -6}, run(op, Tensor.of(1.0, -2.0)));
    }

    @Test
    void imagesAreForGpus(@TempDir Path folder) throws Exception {
        Path file = Files.write(folder.resolve("k.cubin"), new byte[] {1, 2, 3});
        Op<One, Tensor> op = unary("test::image", CudaKernel.image("k", file));
        CudaException e = assertThrows(CudaException.class, () -> run(op, Tensor.of(1.0)));
        assertThat(e).hasMessageContaining(Simulator.BY_A_DRIVER ? "CUDA_ERROR" : "test::image: cuda-sim runs sources");
        assertThrows(IllegalArgumentException.class, () -> CudaKernel.image("k", new byte[0]));
        assertEquals(0, run(op, Tensor.zeros(0)).length);
    }
}
