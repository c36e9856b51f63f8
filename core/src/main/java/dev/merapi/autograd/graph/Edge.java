// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

/** Where the gradient of a variable goes: the node that made it, and as which output. One object, so that both fit. */
public record Edge(Node node, int output) {}
