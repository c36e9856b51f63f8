// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.storage.Storage;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.lang.reflect.Constructor;
import org.jspecify.annotations.Nullable;

/**
 * The engine's methods of {@link Tensor} and {@link Scope}, which users do not see: package-private there, and called through
 * {@link #TENSORS}. A constant of one class, so that the compiler calls them directly. It is found by its name, so that
 * tensors know nothing of this.
 */
public final class EngineAccess {
    private static final String MADE_BY = "dev.merapi.tensor.EngineMethods";

    /** The one object. */
    public static final TensorAccess TENSORS = find();

    private EngineAccess() {}

    private static TensorAccess find() {
        try {
            Constructor<?> maker = Class.forName(MADE_BY).getDeclaredConstructor();
            maker.setAccessible(true);
            return (TensorAccess) maker.newInstance();
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    /** What there is; made by the package of tensors. */
    public abstract static class TensorAccess {
        /** The dispatcher gives memory to what a shape rule made. */
        public abstract void attach(Tensor t, Storage memory, Context context);

        /** Gives fresh memory to a meta tensor. */
        public abstract void allocate(Tensor t, Context context);

        /** A row-major tensor whose contents are undefined; the backend's dispatch of {@code empty}. */
        public abstract Tensor allocate(Shape shape, DType dtype, Device device);

        /** Zeros in the form of another tensor, which may be meta; meta themselves if asked for. */
        public abstract Tensor zeros(Tensor like, boolean meta);

        /** A tensor over given memory, taking over one share of it; belongs to no scope. */
        public abstract Tensor over(Storage memory, Layout layout, DType dtype);

        /** The memory; {@code ClosedTensorException} if the handle is closed, {@code ShapeException} if it is meta. */
        public abstract Storage storage(Tensor t);

        /** One number for what programs are specialised by: the dtype, and whether the rank is 0. */
        public abstract int typeKey(Tensor t);

        /** Another view of the same memory, with a share of its own; belongs to the open scope. */
        public abstract Tensor viewAs(Tensor t, Layout view, Context context);

        /** Puts a tensor of the engine's into the open scope, or under the backstop if there is none. */
        public abstract Tensor joinScope(Tensor t, Context context);

        /** Another handle on the same variable with a share of its own, in no scope: what the engine stores. */
        public abstract Tensor engineHandle(Tensor t);

        /** A handle that holds no share: valid as long as another one does. */
        public abstract Tensor uncountedHandle(Tensor t);

        /** This variable's place in the graph, if it has one. */
        public abstract @Nullable GraphPlace autograd(Tensor t);

        /** This variable's place in the graph, or {@code fresh} from now on if it has none. */
        public abstract GraphPlace autogradOr(Tensor t, GraphPlace fresh);

        /** Another place in the graph, or none. */
        public abstract void setAutograd(Tensor t, @Nullable GraphPlace place);

        /** A scope of the engine's own, around a backward formula for instance: graphs that are made in it outlive it. */
        public abstract Scope openScope(Context context);

        /** Closes what code that is not the engine's left open; see {@code Scope.unwind}. */
        public abstract void unwind(Context context, @Nullable Scope before, @Nullable Object result);

        /** A graph node that was made inside; the outermost scope remembers it. */
        public abstract void addNode(Scope scope, GraphNode node);
    }
}
