// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.error.OutOfMemoryException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongUnaryOperator;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * NVIDIA's cuBLASLt, found at run time or not at all. {@code -Dmerapi.cuda.blas=own} leaves it alone.
 *
 * <p>It counts columns first: our row-major c = a·b is its cᵀ = bᵀ·aᵀ, the same bytes with the operands swapped.
 */
final class CublasLt {
    private static final Logger LOG = LoggerFactory.getLogger("dev.merapi");
    static final List<String> FUNCTIONS = List.of(
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
    private static final int PROBLEM_WORDS = 22;
    /** Of the rows of what the GELU is applied to, in elements. */
    private static final int GELU_LINES = 8;

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
    static CublasLt of(long library) {
        return new CublasLt(FunctionTable.of("cuBLASLt", library, FUNCTIONS));
    }

    /**
     * The library on a device, which must be the calling thread's current one.
     *
     * @param streams the library's handle of a stream of ours; asked before anything else is done, and makes the device
     *     the calling thread's current one
     * @throws CudaException if the library does not begin
     */
    Blas on(LongUnaryOperator streams) {
        try (HostMemory result = HostMemory.allocate(Long.BYTES)) {
            int status = CudaNative.blas_create(functions.address(), result.address());
            if (status != 0) {
                throw new CudaException("cuda: cublasLtCreate answers with status " + status);
            }
            return new OnDevice(result.buffer().getLong(0), streams);
        }
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

    /**
     * An algorithm that was chosen.
     *
     * @param address 0 where the library has none
     * @param workspace bytes that it wants while it runs
     */
    private record Plan(long address, long workspace) {}

    private final class OnDevice implements Blas {
        private final long handle;
        private final LongUnaryOperator streams;
        private final HostMemory words = HostMemory.allocate((PROBLEM_WORDS + 2L) * Long.BYTES);

        private final LinkedHashMap<Key, Plan> plans = new LinkedHashMap<>(64, 0.75f, true) {
            private static final long serialVersionUID = 1;

            @Override
            protected boolean removeEldestEntry(Map.Entry<Key, Plan> eldest) {
                if (size() <= MAX_PLANS) {
                    return false;
                }
                if (eldest.getValue().address != 0) {
                    CudaNative.blas_forget(functions.address(), eldest.getValue().address);
                }
                return true;
            }
        };

        OnDevice(long handle, LongUnaryOperator streams) {
            this.handle = handle;
            this.streams = streams;
        }

        @Override
        public synchronized boolean multiply(MatrixProduct p, boolean tf32, long stream) {
            if (!p.dtype().isFloating()
                    || p.k() == 0
                    || !fits(p.a())
                    || !fits(p.b())
                    || p.batch().size() > 2
                    || p.gelu() != null && !activates(p)) {
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
            long handleOfStream = streams.applyAsLong(stream);
            long element = p.dtype().byteSize();
            for (long i = 0; i < outer.size(); i++) {
                long a = p.a().tensor().address() + i * outer.a() * element;
                long b = p.b().tensor().address() + i * outer.b() * element;
                long c = p.out().address() + i * inner.size() * p.m() * p.n() * element;
                Plan plan = plan(p, inner, a, b, c, tf32, true);
                try (Tensor workspace = plan.workspace == 0 ? null : workspace(p, plan.workspace)) {
                    if (plan.workspace != 0 && workspace == null) {
                        plan = plan(p, inner, a, b, c, tf32, false);
                    }
                    if (plan.address == 0) {
                        if (i > 0) {
                            throw new CudaException(
                                    p.op() + ": cuBLASLt has an algorithm for a part of the batch only");
                        }
                        return false;
                    }
                    run(p, plan.address, a, b, c, workspace, handleOfStream);
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
                return Tensor.allocate(Shape.of(bytes), DType.UINT8, p.out().device());
            } catch (OutOfMemoryException e) {
                return null;
            }
        }

        private static @Nullable Tensor extra(MatrixProduct p) {
            return p.sums() != null ? p.sums() : p.bias();
        }

        /** What the library's GELU wants: no float64, no batch, rows of a multiple of 8. */
        private static boolean activates(MatrixProduct p) {
            return p.dtype() != DType.FLOAT64 && p.count() == 1 && p.n() % GELU_LINES == 0;
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
                k.n
            };
            for (int i = 0; i < problem.length; i++) {
                words.buffer().putLong(i * Long.BYTES, problem[i]);
            }
            long result = words.address() + (long) PROBLEM_WORDS * Long.BYTES;
            int status = CudaNative.blas_plan(functions.address(), handle, words.address(), result);
            if (status != 0 && status != CudaNumbers.CUBLAS_STATUS_NOT_SUPPORTED) {
                LOG.warn("cuda: {}: cuBLASLt answers with status {}, so our own kernel multiplies: {}", op, status, k);
            }
            Plan plan = new Plan(
                    words.buffer().getLong(PROBLEM_WORDS * Long.BYTES),
                    words.buffer().getLong((PROBLEM_WORDS + 1) * Long.BYTES));
            if (plan.address == 0 && k.epilogue != 0) {
                LOG.info("cuda: {}: cuBLASLt has nothing with this epilogue; it is done apart: {}", op, k);
            }
            return plan;
        }

        private void run(MatrixProduct p, long plan, long a, long b, long c, @Nullable Tensor workspace, long stream) {
            Tensor bias = extra(p);
            int status = CudaNative.blas_run(
                    functions.address(),
                    handle,
                    plan,
                    b,
                    a,
                    bias == null ? 0 : bias.address(),
                    p.gelu() == null ? 0 : p.gelu().inner().address(),
                    c,
                    workspace == null ? 0 : workspace.address(),
                    workspace == null ? 0 : workspace.numel(),
                    stream);
            if (status != 0) {
                throw new CudaException(p.op() + ": cublasLtMatmul answers with status " + status + "\n  m, n, k: "
                        + p.m() + ", " + p.n() + ", " + p.k()
                        + "\n  fix: -Dmerapi.cuda.blas=own multiplies without it.");
            }
        }
    }

    /** The library's second operand is our first. */
    private static int epilogue(MatrixProduct p) {
        if (p.gelu() != null) {
            return p.gelu().backward()
                    ? CudaNumbers.CUBLASLT_EPILOGUE_DGELU_BGRAD
                    : CudaNumbers.CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
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
