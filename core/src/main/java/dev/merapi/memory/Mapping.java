// SPDX-License-Identifier: Apache-2.0
package dev.merapi.memory;

/**
 * A part of a file in memory; what is written there stays there.
 *
 * @param segment that part
 * @param unmap ends it
 */
public record Mapping(Segment segment, Runnable unmap) {}
