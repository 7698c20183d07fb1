// Stage: node, its addresses. Input: nothing. Output: the link and the networks of the one node; there is one such
// cluster on a machine at a time.
export { gateway } from '../cluster-folder.ts';

/**
 * The bridge between the pods and the machine. Its gateway is the node, the API server for pods, and the DNS server.
 */
export const bridge = 'weir0';
export const podNetwork = '10.88.0.0/16';
export const nodeName = 'weir-node';
export const clusterDomain = 'cluster.local';
