// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

/** What can be registered as a kernel: one that is ready to be called, or code for a backend to build. */
public sealed interface KernelPiece permits ReadyKernel, DeviceCode {}
