// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.cuda.host.HostMemory;
import dev.merapi.cuda.launch.SilentSyncs;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.WorkStream;
import dev.merapi.error.DeviceException;
import dev.merapi.tensor.Tensor;
import java.nio.ByteBuffer;

/** Bytes between a device and the host, within a device, or between two of one runtime. Tensors are row-major. */
public final class MoveKernel {
    private static final int STAGE = 4 << 20;

    private final CudaRuntime runtime;

    public MoveKernel(CudaRuntime runtime) {
        this.runtime = runtime;
    }

    /** Either tensor, or both, live on a device of this runtime; the other is one that Java sees. */
    public void copy(Tensor from, Tensor to) {
        long bytes = from.numel() * from.dtype().byteSize();
        if (bytes == 0) {
            return;
        }
        boolean fromHere = !BackendChoice.allocator(from.device()).isJavaVisible();
        boolean toHere = !BackendChoice.allocator(to.device()).isJavaVisible();
        if (toHere) {
            WorkStream.noteUse(to.device(), to); // the copy goes on when this returns
        }
        if (fromHere && toHere) {
            WorkStream.noteUse(from.device(), from);
            Context context = Context.current();
            int device = to.device().index();
            long stream = context.stream(to.device());
            if (from.device() == to.device()) {
                runtime.copy(device, stream, to.address(), from.address(), bytes);
            } else {
                runtime.copy(
                        device,
                        stream,
                        to.address(),
                        from.device().index(),
                        context.stream(from.device()),
                        from.address(),
                        bytes);
            }
        } else if (fromHere) {
            download(from, to, bytes);
        } else {
            upload(from, to, bytes);
        }
    }

    private void upload(Tensor from, Tensor to, long bytes) {
        int device = to.device().index();
        long stream = Context.current().stream(to.device());
        if (from.address() != 0) {
            runtime.upload(device, stream, to.address(), from.address(), bytes);
            return;
        }
        // Memory on the Java heap has no address: by pieces through memory that has one.
        ByteBuffer heap = heap(from);
        try (HostMemory stage = HostMemory.allocate(Math.min(bytes, STAGE))) {
            for (long done = 0; done < bytes; done += STAGE) {
                int piece = (int) Math.min(STAGE, bytes - done);
                stage.buffer().put(0, heap, offset(from) + (int) done, piece);
                runtime.upload(device, stream, to.address() + done, stage.address(), piece);
            }
        }
    }

    private void download(Tensor from, Tensor to, long bytes) {
        SilentSyncs.require(from);
        int device = from.device().index();
        long stream = Context.current().stream(from.device());
        if (to.address() != 0) {
            runtime.download(device, stream, to.address(), from.address(), bytes);
            return;
        }
        ByteBuffer heap = heap(to);
        try (HostMemory stage = HostMemory.allocate(Math.min(bytes, STAGE))) {
            for (long done = 0; done < bytes; done += STAGE) {
                int piece = (int) Math.min(STAGE, bytes - done);
                runtime.download(device, stream, stage.address(), from.address() + done, piece);
                heap.put(offset(to) + (int) done, stage.buffer(), 0, piece);
            }
        }
    }

    private static ByteBuffer heap(Tensor t) {
        ByteBuffer buffer = TENSORS.storage(t).rawBuffer();
        if (buffer == null) {
            throw new DeviceException("move: " + t.describe() + " has neither an address nor a Java view");
        }
        return buffer;
    }

    private static int offset(Tensor t) {
        return TENSORS.storage(t).bufferOffset()
                + (int) (t.layout().offset() * t.dtype().byteSize());
    }
}
