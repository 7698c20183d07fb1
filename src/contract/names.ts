// Contract: names that more than one room must spell alike.

/** The account of the operator, `<namespace>/<name>`, unless it was installed under other names. */
export const USUAL_ACCOUNT = 'weir-system/weir-operator';

/** The label without which no Secret is read out to limiters: it allows everyone who can edit objects to use it. */
export const CREDENTIAL_LABEL = 'weir.dev/credential';

/**
 * In place of the name of a Secret: the credentials of the operator's own default Redis. No Secret can be called so.
 */
export const DEFAULT_REDIS_SECRET = '@default-redis';
