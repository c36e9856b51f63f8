// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

/** What can be registered as a kernel: one that fills the outputs, one that makes them, or code for a backend to build. */
public sealed interface KernelPiece permits Kernel, Kernel.Returning, DeviceCode {}
