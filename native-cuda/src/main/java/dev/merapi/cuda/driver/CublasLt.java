// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.cuda.runtime.Blas;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.Epilogues;
import dev.merapi.cuda.runtime.MatrixProduct;
import dev.merapi.dispatch.Determinism;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * NVIDIA's cuBLASLt, found at run time or not at all. {@code -Dmerapi.cuda.blas=own} leaves it alone;
 * {@code -Dmerapi.cuda.blas.tune=true} measures its algorithms where it would take the one that the library thinks fastest.
 *
 * <p>It counts columns first: our row-major c = a·b is its cᵀ = bᵀ·aᵀ, the same bytes with the operands swapped.
 */
public final class CublasLt {
    private static final Logger LOG = LoggerFactory.getLogger("dev.merapi");
    public static final List<String> FUNCTIONS = List.of(
            "cublasLtCreate",
            "cublasLtMatmulDescCreate",
            "cublasLtMatmulDescSetAttribute",
            "cublasLtMatmulDescDestroy",
            "cublasLtMatrixLayoutCreate",
            "cublasLtMatrixLayoutSetAttribute",
            "cublasLtMatrixLayoutDestroy",
            "cublasLtMatmulPreferenceCreate",
            "cublasLtMatmulPreferenceSetAttribute",
            "cublasLtMatmulPreferenceDestroy",
            "cublasLtMatmulAlgoGetHeuristic",
            "cublasLtMatmul",
            "cublasLtGetVersion");
    /** The most that an algorithm may want. */
    private static final long WORKSPACE = 32L << 20;

    private static final int MAX_PLANS = 1024;
    private static final int MAX_LAUNCHES = 64;
    private static final int PROBLEM_WORDS = 23;
    /** Of the rows of what the GELU is applied to, in elements. */
    private static final int GELU_LINES = 8;
    /** Of the addresses of what an epilogue reads and writes, in bytes: what its vector loads want. */
    private static final int EPILOGUE_ALIGNMENT = 16;
    /** Algorithms that are measured. */
    private static final int CANDIDATES = 8;

    private static final int ROUNDS = 2;
    private static final int CALLS = 5;
    /** How much less time than the library's own choice another one must take: less is noise. */
    private static final double GAIN = 0.98;

    private static boolean tried;
    private static @Nullable CublasLt instance;

    private final FunctionTable functions;

    private CublasLt(FunctionTable functions) {
        this.functions = functions;
    }

    /** Null if it is not there, which one line in the log says, or not wanted. */
    static synchronized @Nullable CublasLt get() {
        if (!tried) {
            tried = true;
            if ("own".equals(System.getProperty("merapi.cuda.blas"))) {
                LOG.info("cuda: our own matrix products, since merapi.cuda.blas=own");
                return null;
            }
            List<String> places = new ArrayList<>();
            long library = CudaLibraries.open(List.of(), List.of("libcublasLt.so.13", "libcublasLt.so.12"), places);
            String missing = library == 0 ? "it was not found" : null;
            try {
                if (library != 0) {
                    instance = of(library);
                    LOG.info("cuda: {}", instance.description());
                }
            } catch (CudaException e) {
                missing = e.getMessage();
            }
            if (missing != null) {
                LOG.warn("cuda: our own matrix products instead of cuBLASLt, slower: {}", missing);
                places.forEach(place -> LOG.debug("cuda: cuBLASLt: {}", place));
            }
        }
        return instance;
    }

    /** {@code cuBLASLt 13.2.0 (file)} */
    String description() {
        long version = CudaNative.blas_version(functions.address());
        return "cuBLASLt " + version / 10_000 + "." + version / 100 % 100 + "." + version % 100 + " ("
                + functions.place() + ")";
    }

    /** What serves matrix products, for people. */
    static String describe() {
        CublasLt library = get();
        return library == null ? "our own matrix products" : library.description();
    }

    /** The functions of a library that is open. */
    public static CublasLt of(long library) {
        return new CublasLt(FunctionTable.of("cuBLASLt", library, FUNCTIONS));
    }

    /**
     * The library on a device, which must be the calling thread's current one.
     *
     * @throws CudaException if the library does not begin
     */
    public Blas on(Streams streams) {
        return on(streams, Boolean.getBoolean("merapi.cuda.blas.tune"));
    }

    public Blas on(Streams streams, boolean tunes) {
        try (HostMemory result = HostMemory.allocate(Long.BYTES)) {
            int status = CudaNative.blas_create(functions.address(), result.address());
            if (status != 0) {
                throw new CudaException("cuda: cublasLtCreate answers with status " + status);
            }
            return new OnDevice(result.buffer().getLong(0), streams, tunes);
        }
    }

    /** A device's streams, as the library needs them. */
    public interface Streams {
        /**
         * The library's handle of a stream of ours; asked before anything else is done, and makes the device the calling
         * thread's current one.
         */
        long handle(long stream);

        /** Whether what the stream is given is recorded, and not done. */
        boolean isCaptured(long handle);

        /** Returns when all is done that the stream was given. */
        void finish(long handle);
    }

    /** All that the choice of an algorithm depends on. */
    private record Key(
            DType dtype,
            boolean tf32,
            long m,
            long n,
            long k,
            boolean aAlongK,
            long aLeading,
            boolean bAlongK,
            long bLeading,
            long count,
            long aStride,
            long bStride,
            int epilogue,
            boolean workspace,
            long aAlignment,
            long bAlignment,
            long cAlignment,
            long biasAlignment,
            long innerAlignment) {}

    /** An algorithm that was chosen. */
    private static final class Plan {
        /** 0 where the library has none, or one that failed. */
        private long address;
        /** Bytes that it wants while it runs. */
        private long workspace;
        /** Algorithms that nobody has measured yet; 1 if that is not wanted, or done. */
        private int candidates;
    }

    private final class OnDevice implements Blas {
        private final long handle;
        private final Streams streams;
        private final boolean tunes;
        private final HostMemory words = HostMemory.allocate((PROBLEM_WORDS + 3L) * Long.BYTES);

        private final LinkedHashMap<Key, Plan> plans = new LinkedHashMap<>(64, 0.75f, true) {
            private static final long serialVersionUID = 1;

            @Override
            protected boolean removeEldestEntry(Map.Entry<Key, Plan> eldest) {
                if (size() <= MAX_PLANS) {
                    return false;
                }
                forget(eldest.getValue());
                return true;
            }
        };

        OnDevice(long handle, Streams streams, boolean tunes) {
            this.handle = handle;
            this.streams = streams;
            this.tunes = tunes;
        }

        @Override
        public synchronized boolean multiply(MatrixProduct p, boolean tf32, long stream) {
            if (!p.dtype().isFloating()
                    || p.k() == 0
                    || !fits(p.a())
                    || !fits(p.b())
                    || p.batch().size() > 2
                    || !Epilogues.serve(p)
                    || p.gelu() != null && !activates(p)
                    || !isAligned(extra(p))
                    || p.gelu() != null && !isAligned(p.gelu().inner())) {
                return false;
            }
            // The library takes one leading dimension; another one is a loop.
            boolean nested = p.batch().size() == 2;
            MatrixProduct.Leading outer = nested ? p.batch().get(0) : new MatrixProduct.Leading(1, 0, 0);
            MatrixProduct.Leading inner = p.batch().isEmpty()
                    ? new MatrixProduct.Leading(1, 0, 0)
                    : p.batch().get(p.batch().size() - 1);
            if (outer.size() > MAX_LAUNCHES) {
                return false;
            }
            long handleOfStream = streams.handle(stream);
            long element = p.dtype().byteSize();
            for (long i = 0; i < outer.size(); i++) {
                long a = p.a().tensor().address() + i * outer.a() * element;
                long b = p.b().tensor().address() + i * outer.b() * element;
                long c = p.out().address() + i * inner.size() * p.m() * p.n() * element;
                Plan plan = plan(p, inner, a, b, c, tf32, true);
                if (plan.candidates > 1 && !streams.isCaptured(handleOfStream)) {
                    choose(p, plan, a, b, c, handleOfStream);
                }
                try (Tensor workspace = plan.workspace == 0 ? null : workspace(p, plan.workspace)) {
                    if (plan.workspace != 0 && workspace == null) {
                        plan = plan(p, inner, a, b, c, tf32, false);
                    }
                    if (plan.address == 0) {
                        return false; // whoever does it instead writes the first parts of a batch once more
                    }
                    int status = run(p, plan, a, b, c, workspace, handleOfStream);
                    if (status != 0) {
                        forget(plan);
                        throw new CudaException(p.op() + ": cublasLtMatmul answers with status " + status
                                + "\n  m, n, k: " + p.m() + ", " + p.n() + ", " + p.k()
                                + "\n  fix: -Dmerapi.cuda.blas=own multiplies without it.");
                    }
                }
            }
            return true;
        }

        /**
         * Memory as any tensor's: in the order of the stream, and a captured product's stays its graph's. So products that
         * run at the same time never share any. Null if there is none.
         */
        private static @Nullable Tensor workspace(MatrixProduct p, long bytes) {
            try {
                return TENSORS.allocate(Shape.of(bytes), DType.UINT8, p.out().device());
            } catch (OutOfMemoryException e) {
                return null;
            }
        }

        private static @Nullable Tensor extra(MatrixProduct p) {
            return p.sums() != null ? p.sums() : p.bias();
        }

        /** A slice may begin anywhere; a fault by misaligned access would be the end of the process's device. */
        private static boolean isAligned(@Nullable Tensor t) {
            return t == null || t.address() % EPILOGUE_ALIGNMENT == 0;
        }

        /** What the library's GELU wants: no batch, rows of a multiple of 8; and what ours: no more than 16 bits. */
        private static boolean activates(MatrixProduct p) {
            return p.dtype().byteSize() == 2 && p.count() == 1 && p.n() % GELU_LINES == 0;
        }

        /** Lines must not overlap. */
        private boolean fits(MatrixProduct.Operand o) {
            return o.hasLines() && o.leading() >= (o.isAlongK() ? o.k() : o.size());
        }

        private static long alignment(long address) {
            return Math.min(256, Long.lowestOneBit(address | 256));
        }

        private Plan plan(
                MatrixProduct p, MatrixProduct.Leading batch, long a, long b, long c, boolean tf32, boolean room) {
            Tensor bias = extra(p);
            Key key = new Key(
                    p.dtype(),
                    tf32 && p.dtype() == DType.FLOAT32,
                    p.m(),
                    p.n(),
                    p.k(),
                    p.a().isAlongK(),
                    p.a().leading(),
                    p.b().isAlongK(),
                    p.b().leading(),
                    batch.size(),
                    batch.a(),
                    batch.b(),
                    epilogue(p),
                    room,
                    alignment(a),
                    alignment(b),
                    alignment(c),
                    bias == null ? 0 : alignment(bias.address()),
                    p.gelu() == null ? 0 : alignment(p.gelu().inner().address()));
            Plan known = plans.get(key);
            if (known == null) {
                known = make(p.op(), key);
                plans.put(key, known);
            }
            return known;
        }

        private Plan make(String op, Key k) {
            // With an algorithm that the clock has chosen, two runs of a program need not have the same bits.
            int wanted = tunes && !Determinism.isOn() ? CANDIDATES : 1;
            long[] problem = {
                type(k.dtype),
                compute(k.dtype, k.tf32),
                k.n,
                k.m,
                k.k,
                k.bAlongK ? 1 : 0,
                k.bLeading,
                k.aAlongK ? 0 : 1,
                k.aLeading,
                k.n,
                k.count,
                k.bStride,
                k.aStride,
                k.m * k.n,
                k.epilogue,
                k.workspace ? WORKSPACE : 0,
                k.bAlignment,
                k.aAlignment,
                k.cAlignment,
                k.biasAlignment,
                k.innerAlignment,
                k.n,
                wanted
            };
            for (int i = 0; i < problem.length; i++) {
                words.buffer().putLong(i * Long.BYTES, problem[i]);
            }
            long result = words.address() + (long) PROBLEM_WORDS * Long.BYTES;
            int status = CudaNative.blas_plan(functions.address(), handle, words.address(), result);
            if (status != 0 && status != CudaNumbers.CUBLAS_STATUS_NOT_SUPPORTED) {
                LOG.warn("cuda: {}: cuBLASLt answers with status {}, so our own kernel multiplies: {}", op, status, k);
            }
            Plan plan = new Plan();
            plan.address = words.buffer().getLong(PROBLEM_WORDS * Long.BYTES);
            plan.workspace = words.buffer().getLong((PROBLEM_WORDS + 1) * Long.BYTES);
            plan.candidates = (int) words.buffer().getLong((PROBLEM_WORDS + 2) * Long.BYTES);
            if (plan.address == 0 && k.epilogue != 0) {
                LOG.info("cuda: {}: cuBLASLt has nothing with this epilogue; it is done apart: {}", op, k);
            }
            return plan;
        }

        private void forget(Plan plan) {
            if (plan.address != 0) {
                CudaNative.blas_forget(functions.address(), plan.address);
            }
            plan.address = 0;
            plan.workspace = 0;
            plan.candidates = 0;
        }

        /** Measures the algorithms of a plan on the product itself, and keeps the fastest. */
        private void choose(MatrixProduct p, Plan plan, long a, long b, long c, long stream) {
            double best = Double.POSITIVE_INFINITY;
            int chosen = 0;
            for (int i = 0; i < plan.candidates; i++) {
                plan.workspace = CudaNative.blas_choose(plan.address, i);
                try (Tensor workspace = plan.workspace == 0 ? null : workspace(p, plan.workspace)) {
                    if (plan.workspace != 0 && workspace == null) {
                        continue;
                    }
                    double seconds = seconds(p, plan, a, b, c, workspace, stream);
                    if (seconds < (i == 0 ? 1 : GAIN) * best) {
                        best = seconds;
                        chosen = i;
                    }
                }
            }
            LOG.debug(
                    "cuda: {}: algorithm {} of {} for {} x {} x {}: {} µs",
                    p.op(),
                    chosen,
                    plan.candidates,
                    p.m(),
                    p.n(),
                    p.k(),
                    1e6 * best);
            plan.workspace = CudaNative.blas_choose(plan.address, chosen);
            plan.candidates = 1;
        }

        /** For a call; infinite if the library does not do it. */
        private double seconds(
                MatrixProduct p, Plan plan, long a, long b, long c, @Nullable Tensor workspace, long stream) {
            if (run(p, plan, a, b, c, workspace, stream) != 0) {
                return Double.POSITIVE_INFINITY;
            }
            double least = Double.POSITIVE_INFINITY;
            for (int round = 0; round < ROUNDS; round++) {
                streams.finish(stream);
                long start = System.nanoTime();
                for (int i = 0; i < CALLS; i++) {
                    run(p, plan, a, b, c, workspace, stream);
                }
                streams.finish(stream);
                least = Math.min(least, (System.nanoTime() - start) * 1e-9 / CALLS);
            }
            return least;
        }

        /** The library's status. */
        private int run(MatrixProduct p, Plan plan, long a, long b, long c, @Nullable Tensor workspace, long stream) {
            Tensor bias = extra(p);
            return CudaNative.blas_run(
                    functions.address(),
                    handle,
                    plan.address,
                    b,
                    a,
                    bias == null ? 0 : bias.address(),
                    p.gelu() == null ? 0 : p.gelu().inner().address(),
                    c,
                    workspace == null ? 0 : workspace.address(),
                    workspace == null ? 0 : workspace.numel(),
                    stream);
        }
    }

    /** The library's second operand is our first. */
    private static int epilogue(MatrixProduct p) {
        if (p.gelu() != null) {
            return !p.gelu().backward()
                    ? CudaNumbers.CUBLASLT_EPILOGUE_GELU_AUX_BIAS
                    : p.sums() != null
                            ? CudaNumbers.CUBLASLT_EPILOGUE_DGELU_BGRAD
                            : CudaNumbers.CUBLASLT_EPILOGUE_DGELU;
        }
        return p.sums() != null
                ? CudaNumbers.CUBLASLT_EPILOGUE_BGRADB
                : p.bias() != null ? CudaNumbers.CUBLASLT_EPILOGUE_BIAS : 0;
    }

    /** As cudaDataType numbers it. */
    private static int type(DType dtype) {
        return switch (dtype) {
            case FLOAT32 -> CudaNumbers.CUDA_R_32F;
            case FLOAT64 -> CudaNumbers.CUDA_R_64F;
            case FLOAT16 -> CudaNumbers.CUDA_R_16F;
            case BFLOAT16 -> CudaNumbers.CUDA_R_16BF;
            default -> throw new IllegalArgumentException("no products of " + dtype);
        };
    }

    /** As cublasComputeType_t numbers it. */
    private static int compute(DType dtype, boolean tf32) {
        if (dtype == DType.FLOAT64) {
            return CudaNumbers.CUBLAS_COMPUTE_64F;
        }
        return tf32 ? CudaNumbers.CUBLAS_COMPUTE_32F_FAST_TF32 : CudaNumbers.CUBLAS_COMPUTE_32F;
    }
}
