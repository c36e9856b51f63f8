// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

/**
 * The layers of a call, outermost last in this list, as bits: tracing stands above autocast, autocast above autograd, so
 * that its casts are recorded, and checks directly above the backend. A layer is masked while it dispatches again.
 */
public final class Key {
    public static final int CHECKED = 1;
    public static final int AUTOGRAD = 2;
    public static final int AUTOCAST = 4;
    public static final int TRACE = 8;
    /** All that stands above the kernels. */
    public static final int ABOVE_KERNEL = AUTOGRAD | AUTOCAST | TRACE;

    private Key() {}
}
