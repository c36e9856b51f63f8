// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

/**
 * A kernel as a value that only its backend can turn into something that runs: source text, for instance. Classes that
 * hold such values load on machines without the device.
 */
public non-sealed interface DeviceCode extends KernelPiece, BackwardPiece {}
