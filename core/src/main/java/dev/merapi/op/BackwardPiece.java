// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

/** What can be registered as a backward for one kind of device: a formula, or code for a backend to build. */
public sealed interface BackwardPiece permits Backward, DeviceCode {}
