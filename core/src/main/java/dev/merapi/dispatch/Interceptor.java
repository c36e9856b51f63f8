// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.op.Definition;

/**
 * Sees every call of a thread at one layer: tracing, autocast, profiling. It goes on with
 * {@link Dispatcher#call(Definition, Record, Context)}, with arguments of its choice; its own layer is masked meanwhile.
 */
@FunctionalInterface
public interface Interceptor {
    <A extends Record, R> R call(Definition<A, R> op, A args, Context context);
}
