// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphPlace;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.storage.MemoryBlock;
import dev.merapi.storage.Storage;
import dev.merapi.storage.ThreadState;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A handle on an n-dimensional array of one dtype on one device: a layout over counted storage, and a place in the graph.
 *
 * <p>Closing a handle lets go of its share of the memory; views and saved values hold shares of their own. A tensor that
 * is never closed goes when it is unreachable; a {@link Scope} closes what was made in it. A tensor without storage is
 * <em>meta</em>: shape, dtype and device only, for shape rules.
 */
public final class Tensor extends TensorMethods implements Trainable, AutoCloseable {
    private static final int CLOSED = 1;
    private static final int UNCOUNTED = 2;
    private static final int INFERENCE = 4;
    /** From this bit on the state says what programs are specialised by: the dtype, and whether the rank is 0. */
    private static final int TYPE = 8;

    private static final VarHandle STATE;
    private static final VarHandle AUTOGRAD;

    static {
        try {
            STATE = MethodHandles.lookup().findVarHandle(Tensor.class, "state", int.class);
            AUTOGRAD = MethodHandles.lookup().findVarHandle(Tensor.class, "autograd", GraphPlace.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private final Layout layout;
    private final DType dtype;
    private final Device device;

    private @Nullable Storage storage;
    private volatile @Nullable GraphPlace autograd;
    private volatile int state;

    @Nullable
    Scope scope;

    private Tensor(Layout layout, DType dtype, Device device, @Nullable Storage storage) {
        this.layout = layout;
        this.dtype = dtype;
        this.device = device;
        this.storage = storage;
        STATE.set(this, (dtype.index() << 1 | (layout.rank() == 0 ? 1 : 0)) << TYPE);
    }

    // ---------------------------------------------------------------- without memory

    /**
     * A tensor without memory that has the shape, dtype and device of another; row-major. For shape rules.
     *
     * @param like whose shape, dtype and device are meant; it may be meta itself
     * @return a meta tensor
     */
    public static Tensor meta(Tensor like) {
        Objects.requireNonNull(like, "like");
        return meta(like.layout, like.dtype, like.device);
    }

    /**
     * As {@link #meta(Tensor)} with another shape.
     *
     * @param like whose dtype and device are meant
     * @param shape of the result
     * @return a meta tensor
     */
    public static Tensor meta(Tensor like, Shape shape) {
        Objects.requireNonNull(like, "like");
        Objects.requireNonNull(shape, "shape");
        return shape == like.layout.shape()
                ? meta(like)
                : new Tensor(Layout.contiguous(shape), like.dtype, like.device, null);
    }

    /**
     * As {@link #meta(Tensor)} with another dtype.
     *
     * @param like whose shape and device are meant
     * @param dtype of the result
     * @return a meta tensor
     */
    public static Tensor meta(Tensor like, DType dtype) {
        Objects.requireNonNull(like, "like");
        Objects.requireNonNull(dtype, "dtype");
        return meta(like.layout, dtype, like.device);
    }

    /**
     * A tensor without memory, row-major.
     *
     * @param shape the shape
     * @param dtype the dtype
     * @param device the device
     * @return a meta tensor
     */
    public static Tensor meta(Shape shape, DType dtype, Device device) {
        Objects.requireNonNull(shape, "shape");
        Objects.requireNonNull(dtype, "dtype");
        Objects.requireNonNull(device, "device");
        return new Tensor(Layout.contiguous(shape), dtype, device, null);
    }

    private static Tensor meta(Layout layout, DType dtype, Device device) {
        boolean plain = layout.isContiguous() && layout.offset() == 0;
        return new Tensor(plain ? layout : Layout.contiguous(layout.shape()), dtype, device, null);
    }

    /** Equal for tensors for which programs are specialised alike. */
    int typeKey() {
        return state >>> TYPE;
    }

    /** {@return whether there is no memory behind it} */
    public boolean isMeta() {
        return storage == null;
    }

    // ---------------------------------------------------------------- what it is

    /** {@return the sizes of its dimensions; [] for a scalar} */
    public Shape shape() {
        return layout.shape();
    }

    /**
     * Size of a dimension; negative ones count from the end.
     *
     * @param dim the dimension, negative from the end
     * @return its size, in elements
     */
    public long size(int dim) {
        Shape shape = layout.shape();
        return shape.size(shape.normalize("size", dim));
    }

    /** {@return the number of dimensions; 0 for a scalar} */
    public int rank() {
        return layout.rank();
    }

    /** {@return the number of elements: the product of the sizes} */
    public long numel() {
        return layout.numel();
    }

    /** {@return the dtype of the elements} */
    public DType dtype() {
        return dtype;
    }

    /** {@return where the elements are} */
    public Device device() {
        return device;
    }

    /** {@return shape, strides and offset, in elements} */
    public Layout layout() {
        return layout;
    }

    /** {@return whether the elements lie in row-major order without gaps} */
    public boolean isContiguous() {
        return layout.isContiguous();
    }

    // ---------------------------------------------------------------- memory

    /**
     * The memory; for kernels.
     *
     * @throws ClosedTensorException if this handle is closed
     */
    Storage storage() {
        Storage s = storage;
        if (s == null) {
            throw new ShapeException("storage: " + describe() + " is meta, so it has no memory to read or write");
        }
        requireOpen();
        return s;
    }

    /**
     * Address of the first element for native code; 0 where memory has no address. <b>Unsafe</b>: valid during a kernel
     * that has this tensor only, and nothing says so when it is not.
     *
     * @return the address in the memory of the device, in bytes
     */
    public long address() {
        Storage s = java.util.Objects.requireNonNull(storage);
        long base = s.address();
        return base == 0 ? 0 : base + layout.offset() * dtype.byteSize();
    }

    /** Closes this handle; the memory goes when the last share of it does. Idempotent, and safe during calls. */
    @Override
    public void close() {
        ThreadState memory = Context.current().memory();
        MemoryBlock block = closeLater(memory);
        if (block != null) {
            Storage.retire(memory, new MemoryBlock[] {block}, 1);
        }
    }

    /** Marks this handle closed; returns the block that it was the last owner of, to be retired. */
    @Nullable
    MemoryBlock closeLater(ThreadState memory) {
        int before = (int) STATE.getAndBitwiseOr(this, CLOSED);
        if ((before & (CLOSED | UNCOUNTED)) != 0 || storage == null) {
            return null;
        }
        return storage.releaseLater(memory);
    }

    /** {@return whether this handle was closed: by {@link #close}, or at the end of its scope} */
    public boolean isClosed() {
        return (state & CLOSED) != 0;
    }

    /** @throws ClosedTensorException if this handle is closed */
    public void requireOpen() {
        if ((state & CLOSED) != 0) {
            throw closed(Message.of("tensor " + describe() + " is closed"));
        }
    }

    /**
     * As above; the error names the op or method that was given this tensor, and as which argument.
     *
     * @param op what the error begins with
     * @param argument the name that it says
     * @throws ClosedTensorException if this handle is closed
     */
    public void requireOpen(String op, String argument) {
        if ((state & CLOSED) != 0) {
            throw closed(Message.of(op, "argument '" + argument + "', " + describe() + ", is closed")
                    .argument(argument));
        }
    }

    private static ClosedTensorException closed(Message message) {
        return new ClosedTensorException(
                message.fix("keep it beyond its scope with scope.keep(t), or close it later."));
    }

    /**
     * How often the memory was written by ops; shared by all views.
     *
     * @return a number that grows; 0 for a meta tensor
     */
    public int version() {
        Storage s = storage;
        return s == null ? 0 : s.version();
    }

    /**
     * From now on this tensor belongs to no scope: it lives until it is closed or unreachable.
     *
     * @return this tensor
     */
    public Tensor leaveScope() {
        Scope open = Context.current().scope();
        if (open != null && autograd != null) {
            open.leave(this);
        }
        scope = null;
        if (storage != null) {
            storage.escape();
        }
        return this;
    }

    // ---------------------------------------------------------------- for the engine, through EngineAccess

    /** The dispatcher gives memory to what a shape rule made. */
    void attach(Storage memory, Context context) {
        storage = memory;
        if (context.isInference()) {
            mark(INFERENCE);
        }
        Scope s = context.scope();
        if (s != null) {
            s.add(this);
        }
    }

    /** Before anybody else sees this handle: the fence of a volatile write would take longer than the rest. */
    private void mark(int flags) {
        STATE.set(this, (int) STATE.get(this) | flags);
    }

    /** Allocates a row-major tensor whose contents are undefined; the backend's dispatch of {@code empty}. */
    static Tensor allocate(Shape shape, DType dtype, Device device) {
        Objects.requireNonNull(shape, "shape");
        Objects.requireNonNull(dtype, "dtype");
        Objects.requireNonNull(device, "device");
        Tensor t = meta(shape, dtype, device);
        t.allocate(Context.current());
        return t;
    }

    /** Zeros in the form of another tensor, which may be meta; meta themselves if asked for. */
    static Tensor zeros(Tensor like, boolean meta) {
        Objects.requireNonNull(like, "like");
        return meta
                ? meta(like)
                : allocate(like.shape(), like.dtype, like.device).zero_();
    }

    /** Gives fresh memory to a meta tensor. */
    void allocate(Context context) {
        long numel = layout.numel();
        long bytes = numel * dtype.byteSize();
        if (Math.multiplyHigh(numel, dtype.byteSize()) != 0 || bytes < 0) {
            throw new ShapeException("tensor " + describe() + " would need more than 2^63 - 1 bytes");
        }
        Storage memory = context.scope() == null
                ? Storage.unscoped(context.allocator(device), bytes, context.memory(), layout.shape(), dtype)
                : Storage.scoped(context.allocator(device), bytes, context.memory(), layout.shape(), dtype);
        attach(memory, context);
    }

    /**
     * Another view of the same memory, with a share of its own; belongs to the open scope.
     *
     * @throws ShapeException if it reaches beyond the memory
     */
    Tensor viewAs(Layout view, Context context) {
        if (storage != null && view != layout && !view.fits(dtype.byteSize(), storage.byteSize())) {
            throw new ShapeException("view: " + view + " reaches beyond the memory of " + describe() + ", which has "
                    + storage.byteSize() / dtype.byteSize() + " elements");
        }
        Tensor t = new Tensor(view, dtype, device, null);
        if (storage != null) {
            storage.retain();
            t.attach(storage, context);
            if (context.scope() == null) {
                storage.escape(); // no scope will close this view, which may outlive that of its tensor
            }
        }
        return t;
    }

    // ---------------------------------------------------------------- memory of others

    /**
     * A CPU tensor over what remains of a buffer, without a copy: each sees what the other writes. The buffer stays reachable as
     * long as the memory is used. Its own byte order is not looked at; the machine's counts. Wrap a buffer once, and take
     * views: two tensors over one buffer are not known to overlap by plain Java.
     *
     * @param buffer that may be written; a direct one where kernels are native
     * @param dtype of its elements; not BOOL
     * @param shape of the tensor; it may take less than remains
     * @return a tensor, in the open scope
     * @throws ShapeException if the buffer is too small, or does not begin at a multiple of an element's size
     * @throws dev.merapi.error.DeviceException if it is on the Java heap and kernels are native
     */
    public static Tensor wrap(ByteBuffer buffer, DType dtype, long... shape) {
        Objects.requireNonNull(buffer, "buffer");
        Objects.requireNonNull(dtype, "dtype");
        Objects.requireNonNull(shape, "shape");
        return ForeignMemory.wrap(buffer, dtype, Shape.of(shape));
    }

    /**
     * A CPU tensor over memory that others own, without a copy. <b>Unsafe</b>: an address that is wrong, or too few bytes
     * behind it, ends the process or spoils other data. Needs native kernels.
     *
     * <p>{@code release} runs once: when the last handle, view and saved value is closed and no call uses the memory any more,
     * or after the collector has found them unreachable; on any thread, and what it throws is logged. It does not run if this
     * call fails. The memory counts as 0 bytes of the device's cap.
     *
     * @param address of the first byte, a multiple of an element's size
     * @param dtype of the elements; not BOOL
     * @param shape of the tensor, row-major
     * @param owner is kept reachable until then; it must not hold the tensor
     * @param release tells the owner that the memory is not used any more
     * @return a tensor, in the open scope
     * @throws ShapeException if the address is not aligned, or the size beyond all memory
     * @throws IllegalArgumentException if the address is 0
     * @throws dev.merapi.error.DeviceException without native kernels
     */
    public static Tensor over(long address, DType dtype, Shape shape, @Nullable Object owner, Runnable release) {
        Objects.requireNonNull(dtype, "dtype");
        Objects.requireNonNull(shape, "shape");
        Objects.requireNonNull(release, "release");
        return ForeignMemory.over(address, dtype, shape, owner, release);
    }

    /**
     * A CPU tensor over a part of a file, read as it is used: nothing is copied, processes share it, and it counts as 0 bytes of
     * the device's cap. It may be written in place; that stays in this process, and does not go to the file. Elements are in the
     * machine's byte order.
     *
     * <p>The file must not be cut while it is mapped: the system then ends the process (SIGBUS). Replacing it by another of
     * the same name is safe. It is unmapped when the tensor is closed (on Windows and in plain Java: when it is collected;
     * Windows lets nobody delete or replace the file before that).
     *
     * @param file of any size, also one that may not be written; in plain Java and on Windows up to 2 GiB for one tensor, and
     *     one that may be written
     * @param offset of the first byte, a multiple of an element's size
     * @param dtype of the elements; not BOOL
     * @param shape of the tensor, row-major
     * @return a tensor, in the open scope
     * @throws IOException if the file cannot be opened
     * @throws ShapeException if the file ends before, or the offset is not aligned
     * @throws dev.merapi.error.DeviceException if the system cannot map it
     */
    public static Tensor map(Path file, long offset, DType dtype, long... shape) throws IOException {
        Objects.requireNonNull(file, "file");
        Objects.requireNonNull(dtype, "dtype");
        Objects.requireNonNull(shape, "shape");
        return ForeignMemory.map(file, offset, dtype, Shape.of(shape));
    }

    /** A tensor over given memory, taking over one share of it; belongs to no scope. */
    static Tensor over(Storage memory, Layout layout, DType dtype) {
        if (!layout.fits(dtype.byteSize(), memory.byteSize())) {
            throw new ShapeException("tensor: layout " + layout + " of " + dtype + " reaches element " + layout.end()
                    + ", but the storage has " + memory.byteSize() / dtype.byteSize());
        }
        return new Tensor(layout, dtype, memory.device(), memory);
    }

    /** Puts a tensor of the engine's into the open scope, or under the backstop if there is none. */
    Tensor joinScope(Context context) {
        Scope s = context.scope();
        if (s != null) {
            s.add(this);
            return this;
        }
        return leaveScope();
    }

    /** Another handle on the same variable with a share of its own, in no scope: what the engine stores. */
    Tensor engineHandle() {
        Tensor t = new Tensor(layout, dtype, device, storage);
        if (storage != null) {
            storage.retain();
        }
        AUTOGRAD.setRelease(t, autograd);
        t.mark(state & INFERENCE);
        return t;
    }

    /** A handle that holds no share: valid as long as another one does. */
    Tensor uncountedHandle() {
        Tensor t = new Tensor(layout, dtype, device, storage);
        AUTOGRAD.setRelease(t, autograd);
        t.mark(UNCOUNTED | state & INFERENCE);
        return t;
    }

    /** This variable's place in the graph, if it has one. */
    @Nullable
    GraphPlace autograd() {
        return autograd;
    }

    /** This variable's place in the graph, or {@code fresh} from now on if it has none. One, whoever asks at once. */
    GraphPlace autogradOr(GraphPlace fresh) {
        AUTOGRAD.compareAndSet(this, null, fresh);
        return java.util.Objects.requireNonNull(autograd);
    }

    void setAutograd(@Nullable GraphPlace place) {
        AUTOGRAD.setRelease(this, place);
    }

    /** {@return whether it was made in inference mode, so that it can never be part of a graph} */
    public boolean isInference() {
        return (state & INFERENCE) != 0;
    }

    /** {@return dtype, shape and device as errors name them: {@code float32[2, 3] cpu}} */
    public String describe() {
        return dtype + layout.shape().toString() + " " + device;
    }

    /** The contents as NumPy would print them, with the edges of large tensors, then dtype and device. */
    @Override
    public String toString() {
        return TensorPrinter.print(this);
    }

    @Override
    Tensor self() {
        return this;
    }

    /** This tensor. */
    @Override
    public Tensor tensor() {
        return this;
    }
}
