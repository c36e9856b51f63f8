// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.runtime;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Indexing;
import dev.merapi.reference.LossReference;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Where kernels of a device say that an index of theirs is out of range: memory that both the host and the device see. The
 * kernel makes no access there and goes on, so that no call has to wait for the outcome; the host looks here when it
 * launches something, which costs it one load, and after it has waited for something. One fault is kept, and told once;
 * those that come before it is told are lost.
 */
public final class IndexFaults {
    public static final int BYTES = 64;

    /** Words, as {@code outside} of the prelude writes them; the first is the claim of the thread that does. */
    private static final int COMPLETE = 8;

    private static final int OP = 16;
    private static final int INDEX = 24;
    private static final int POSITION = 32;
    private static final int SIZE = 40;
    private static final int IGNORED = 48;

    /** In the order of the numbers that kernels are given; those from {@code crossEntropy} on choose classes. */
    private static final List<String> OPS = List.of(
            "gather",
            "index_select",
            "embedding",
            "scatter",
            "scatter_add_",
            "index_add_",
            "embedding_backward",
            "one_hot",
            "index_copy_",
            "scatter_reduce",
            "crossEntropy",
            "nllLoss",
            "linearCrossEntropy");

    private static final int CLASSES = OPS.indexOf("crossEntropy");
    private static final VarHandle WORD = MethodHandles.byteBufferViewVarHandle(long[].class, ByteOrder.nativeOrder());

    private final long address;
    private final ByteBuffer record;

    /** Over memory of {@link #BYTES} that both sides see at this address. */
    public IndexFaults(long address) {
        this.address = address;
        this.record = HostMemory.view(address, BYTES);
        CudaNative.memory_fill(address, 0, BYTES);
    }

    public long address() {
        return address;
    }

    /** The number of an op. */
    public static int number(String op) {
        int number = OPS.indexOf(op);
        if (number < 0) {
            throw new IllegalArgumentException(op + ": reports no faults");
        }
        return number;
    }

    /** @throws ShapeException if a kernel has found a fault since */
    public void raise() {
        ShapeException fault = isComplete() ? taken() : null;
        if (fault != null) {
            throw fault;
        }
    }

    private boolean isComplete() {
        return (long) WORD.getAcquire(record, COMPLETE) != 0;
    }

    /** Null if another thread has taken it meanwhile. */
    private synchronized @Nullable ShapeException taken() {
        if (!isComplete()) {
            return null;
        }
        int number = (int) record.getLong(OP);
        long index = record.getLong(INDEX);
        long position = record.getLong(POSITION);
        long size = record.getLong(SIZE);
        long ignored = record.getLong(IGNORED);
        WORD.setRelease(record, COMPLETE, 0L);
        WORD.setRelease(record, 0, 0L);
        String op = number >= 0 && number < OPS.size() ? OPS.get(number) : "an op";
        ShapeException found = number < CLASSES
                ? Indexing.outOfRange(op, position, index, size)
                : LossReference.targetOutOfRange(op, index, position, ignored, size);
        return new ShapeException(Message.of(found.getMessage())
                .in(called(op))
                .fact("when", "at an earlier call, whose kernel has run meanwhile; what it made is not to be used")
                .fact("to find the call", "-Dmerapi.cuda.checked=true checks indices before each kernel."));
    }

    /** The op, as the error of a device that is waited for is called when it leaves the op. */
    private static String called(String op) {
        return switch (op) {
            case "crossEntropy" -> "merapi::cross_entropy";
            case "nllLoss" -> "merapi::nll_loss";
            case "linearCrossEntropy" -> "merapi::linear_cross_entropy";
            default -> "merapi::" + op;
        };
    }
}
