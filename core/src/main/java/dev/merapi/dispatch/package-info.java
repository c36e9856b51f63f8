// SPDX-License-Identifier: Apache-2.0
/** From a call to its kernel: {@link dev.merapi.dispatch.Dispatcher}, the thread's {@link dev.merapi.dispatch.Context} and the {@link dev.merapi.backend.Backend} interface. Part of the engine group; read Dispatcher first. */
@NullMarked
package dev.merapi.dispatch;

import org.jspecify.annotations.NullMarked;
