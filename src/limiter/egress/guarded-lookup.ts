// Limiter, proxy: resolves the host of a target and lets only addresses through that may be dialled. In: a host name;
// out: addresses, or a WeirError egress_refused. The address that is checked is the address that is dialled.
import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { WeirError } from '../../lib/errors.ts';

/** A lookup for undici's connector: of the addresses that the name has, those that `mayDial` accepts. */
export function guardedLookup(mayDial: (address: string) => boolean): LookupFunction {
  return (hostname, options, callback) => {
    systemLookup(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
      if (error !== null) {
        callback(error, []);
        return;
      }
      const permitted = addresses.filter(({ address }) => mayDial(address));
      const [first] = permitted;
      if (first === undefined) callback(new WeirError('egress_refused'), []);
      else if (options.all === true) callback(null, permitted);
      else callback(null, first.address, first.family);
    });
  };
}

/** True when the host of a URL is an address that may not be dialled: addresses are never looked up. */
export function isForbiddenAddress(host: string, mayDial: (address: string) => boolean): boolean {
  return isIP(host) !== 0 && !mayDial(host);
}
