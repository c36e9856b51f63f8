// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.EngineAccess.TensorAccess;
import dev.merapi.dispatch.GraphNode;
import dev.merapi.dispatch.GraphPlace;
import dev.merapi.storage.Storage;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import org.jspecify.annotations.Nullable;

/** Hands what is package-private here to the engine, which finds it by its name. */
final class EngineMethods extends TensorAccess {
    @Override
    public void attach(Tensor t, Storage memory, Context context) {
        t.attach(memory, context);
    }

    @Override
    public void allocate(Tensor t, Context context) {
        t.allocate(context);
    }

    @Override
    public Tensor allocate(Shape shape, DType dtype, Device device) {
        return Tensor.allocate(shape, dtype, device);
    }

    @Override
    public Tensor zeros(Tensor like, boolean meta) {
        return Tensor.zeros(like, meta);
    }

    @Override
    public Tensor over(Storage memory, Layout layout, DType dtype) {
        return Tensor.over(memory, layout, dtype);
    }

    @Override
    public int typeKey(Tensor t) {
        return t.typeKey();
    }

    @Override
    public Storage storage(Tensor t) {
        return t.storage();
    }

    @Override
    public Tensor viewAs(Tensor t, Layout view, Context context) {
        return t.viewAs(view, context);
    }

    @Override
    public Tensor joinScope(Tensor t, Context context) {
        return t.joinScope(context);
    }

    @Override
    public Tensor engineHandle(Tensor t) {
        return t.engineHandle();
    }

    @Override
    public Tensor uncountedHandle(Tensor t) {
        return t.uncountedHandle();
    }

    @Override
    public @Nullable GraphPlace autograd(Tensor t) {
        return t.autograd();
    }

    @Override
    public GraphPlace autogradOr(Tensor t, GraphPlace fresh) {
        return t.autogradOr(fresh);
    }

    @Override
    public void setAutograd(Tensor t, @Nullable GraphPlace place) {
        t.setAutograd(place);
    }

    @Override
    public Scope openScope(Context context) {
        return Scope.openInternal(context);
    }

    @Override
    public void unwind(Context context, @Nullable Scope before, @Nullable Object result) {
        Scope.unwind(context, before, result);
    }

    @Override
    public void addNode(Scope scope, GraphNode node) {
        scope.addNode(node);
    }
}
