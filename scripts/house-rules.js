// ESLint rules of this house: the length of comment lines, and the header that every source file begins with.
const MAX_COMMENT_COLUMNS = 120;
/** What a header of src/ begins with, by folder. */
const ROOMS = {
  cli: 'CLI',
  contract: 'Contract',
  controller: 'Controller',
  crd: 'CRD',
  lib: 'Lib',
  limiter: 'Limiter',
  reconcile: 'Reconcile',
};

const commentLength = {
  meta: { type: 'layout', schema: [], messages: { long: 'A comment line has at most {{max}} columns.' } },
  create: (context) => ({
    Program() {
      const { lines } = context.sourceCode;
      for (const { loc } of context.sourceCode.getAllComments()) {
        for (let line = loc.start.line; line <= loc.end.line; line += 1) {
          const columns = line === loc.end.line ? loc.end.column : lines[line - 1].length;
          if (columns > MAX_COMMENT_COLUMNS)
            context.report({ loc: { line, column: 0 }, messageId: 'long', data: { max: MAX_COMMENT_COLUMNS } });
        }
      }
    },
  }),
};

const fileHeader = {
  meta: {
    type: 'layout',
    schema: [],
    messages: {
      missing: 'Begin the file with a line comment: its stage, its input, its output.',
      room: 'Begin the header with "{{room}}: " or "{{room}}, <part>: ".',
    },
  },
  create: (context) => ({
    Program() {
      const first = context.sourceCode.getAllComments().find(({ type }) => type !== 'Shebang');
      const loc = { line: 1, column: 0 };
      if (first?.type !== 'Line' || first.loc.start.line > 2) {
        context.report({ loc, messageId: 'missing' });
        return;
      }
      const room = ROOMS[/\/src\/([a-z]+)\//.exec(context.filename)?.[1]];
      if (room !== undefined && !new RegExp(`^ ${room}(, [^:]+)?: .`).test(first.value))
        context.report({ loc, messageId: 'room', data: { room } });
    },
  }),
};

export default { rules: { 'comment-length': commentLength, 'file-header': fileHeader } };
