// types.test.mjs - the declarations agree with what is there: a TypeScript program is checked, compiled, and run.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import * as colock from '../index.js'
import * as pglite from '../pglite.js'
import { scratch } from './support.mjs'

const run = promisify(execFile)
const top = fileURLToPath(new URL('..', import.meta.url))

// All but PGlite's own declarations, which need some that its package does not bring.
async function compiled() {
  const tsc = ['node_modules/typescript/bin/tsc', '-p', 'test/tsconfig.json', '--pretty', 'false']
  const { stdout } = await run(process.execPath, tsc, { cwd: top }).catch(thrown => thrown)
  assert.deepEqual(stdout.split('\n').filter(line => line && !/^(node_modules\/| )/.test(line)), [])
}

test('a TypeScript program compiles, and `using` releases', async t => {
  await compiled()
  const program = ['build/test/using.js', path.join(scratch(t), 'db.lock')]
  const { stdout } = await run(process.execPath, program, { cwd: top })
  assert.equal(stdout, 'released\nETIMEDOUT exclusive\nclosed\n')
})

test('nothing is exported that the declarations do not have', () => {
  assert.deepEqual(Object.keys(colock).sort(),
    ['ColockError', 'Hold', 'Lock', 'forceUnlock', 'open', 'openFor', 'setLog', 'status', 'version'])
  assert.deepEqual(Object.keys(pglite).sort(), ['SharedPGlite', 'openShared'])
})
