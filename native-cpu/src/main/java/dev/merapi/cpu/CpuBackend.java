// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.backend.Backend;
import dev.merapi.backend.KernelTable;
import dev.merapi.error.DeviceException;
import dev.merapi.memory.RawAllocator;
import dev.merapi.op.Definition;
import dev.merapi.op.ReadyKernel;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.ops.code.StepCode;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import org.jspecify.annotations.Nullable;

/** The CPU by native kernels: the block interpreter for pointwise ops and reductions, C++ for the rest. */
public final class CpuBackend implements Backend {
    private final @Nullable Throwable reason;
    private final @Nullable RawAllocator memory;
    /** A setting that makes no sense: said when the CPU is first used, for who can put it right. */
    private final @Nullable DeviceException mistake;

    public CpuBackend() {
        Throwable why = null;
        RawAllocator raw = null;
        DeviceException wrong = null;
        if (Boolean.getBoolean("merapi.cpu.java")) {
            why = new IllegalStateException("switched off by -Dmerapi.cpu.java=true");
        } else {
            try {
                Native.num_threads(); // loads the library: whether it can be is to be known here
                raw = new NativeMemory();
                int threads = Cpu.wanted(System.getProperty(Cpu.THREADS), System.getenv(Cpu.THREADS_VARIABLE));
                if (threads > 0) {
                    Cpu.setThreads(threads);
                }
            } catch (DeviceException e) {
                wrong = e;
            } catch (LinkageError | RuntimeException e) {
                why = NoNatives.explained(e);
            }
        }
        this.reason = why;
        this.memory = raw;
        this.mistake = wrong;
    }

    @Override
    public DeviceType deviceType() {
        return DeviceType.CPU;
    }

    @Override
    public String description() {
        if (reason != null) {
            return "native CPU";
        }
        String blas = Blas.serving();
        return "native CPU, " + Cpu.instructionSet() + ", " + Cpu.threads() + " threads"
                + (blas == null ? "" : ", large products by " + blas);
    }

    @Override
    public int priority() {
        return 100;
    }

    @Override
    public @Nullable Throwable unavailableBecause() {
        return reason;
    }

    @Override
    public RawAllocator memory(int index) {
        if (mistake != null) {
            throw mistake;
        }
        return java.util.Objects.requireNonNull(memory);
    }

    @Override
    public KernelTable kernelTable() {
        return StructuredKernels.table();
    }

    @Override
    public @Nullable ReadyKernel<?, ?> kernel(Definition<?, ?> op, @Nullable DType dtype) {
        if (op.code() instanceof PointwiseCode code) {
            return new PointwiseKernel(op, code);
        }
        if (op.code() instanceof ReduceCode code) {
            // An epilogue is for as many numbers as there are results: a second op does as well.
            return code.epilogue() == null ? new ReduceKernel(op, code) : null;
        }
        if (op.code() instanceof StepCode code) {
            return new StepKernel(op, code);
        }
        return StructuredKernels.of(op, dtype);
    }
}
