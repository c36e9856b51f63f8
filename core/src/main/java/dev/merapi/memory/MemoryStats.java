// SPDX-License-Identifier: Apache-2.0
package dev.merapi.memory;

/**
 * A device's memory at one moment, in bytes.
 *
 * @param allocated in blocks that are handed out
 * @param reserved taken from the device, handed out or cached
 * @param peakAllocated the largest {@code allocated} since the last reset
 * @param cap what {@code reserved} may not exceed
 * @param liveBlocks how many blocks are handed out
 */
public record MemoryStats(long allocated, long reserved, long peakAllocated, long cap, long liveBlocks) {}
