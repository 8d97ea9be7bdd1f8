// database.mjs - for the tests of colock/pglite: a database to begin with; and are all rows there that were
// acknowledged?

import { PGlite } from '@electric-sql/pglite'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { after } from 'node:test'

import { openShared } from '../pglite.js'
import { Agent, later, scratch } from './support.mjs'

// Making a database takes seconds: it is made once and copied. Files of tests are processes of their own, which share
// it where COLOCK_TEST_TEMPLATE says.
const shelf = process.env.COLOCK_TEST_TEMPLATE ?? fs.mkdtempSync(path.join(os.tmpdir(), 'colock-node.'))
after(() => { if (!process.env.COLOCK_TEST_TEMPLATE) fs.rmSync(shelf, { recursive: true, force: true }) })

async function template() {
  const made = path.join(shelf, 'template')
  if (!fs.existsSync(made)) {
    const making = fs.mkdtempSync(path.join(shelf, 'making.'))
    const database = await PGlite.create(path.join(making, 'db'))
    await database.exec('create table rows (who text, n int, primary key (who, n))')
    await database.close()
    fs.renameSync(making, made)
  }
  return path.join(made, 'db')
}

export async function databaseOf(t) {
  const dataDir = path.join(scratch(t), 'db')
  fs.cpSync(await template(), dataDir, { recursive: true })
  return dataDir
}

export async function tarball() {
  const database = await PGlite.create(await template())
  const tar = await database.dumpDataDir('none')
  await database.close()
  return tar
}

export async function sharedOf(t, dataDir, options) {
  const shared = await openShared(dataDir, options)
  later(t, () => shared.close())
  return shared
}

export async function agentOf(t, dataDir, options) {
  const agent = new Agent(t)
  await agent.call('openShared', dataDir, options)
  return agent
}

export const name = ({ who, n }) => `${who} ${n}`
export const acknowledged = agents => agents.flatMap(agent => agent.said.filter(said => 'n' in said).map(name))
export const ALL = 'select who, n from rows'

// By PGlite alone, whose own look at the tables and the index has to agree. Rows that were not acknowledged: at most
// `doubtful` of them, which a killed process had committed and could not tell of.
export async function everyRow(dataDir, agents, doubtful = 0) {
  const database = await PGlite.create(dataDir)
  const rows = (await database.query(ALL)).rows.map(name)
  await database.exec('set enable_seqscan = off')
  const byIndex = (await database.query("select who, n from rows where who >= '' order by who, n")).rows.length
  await database.close()
  assert.equal(byIndex, rows.length)
  const told = acknowledged(agents)
  const there = new Set(rows)
  assert.deepEqual(told.filter(row => !there.has(row)), [], 'rows were lost')
  assert.equal(there.size, rows.length)
  assert(rows.length - told.length <= doubtful, `${rows.length} rows, ${told.length} acknowledged`)
  return rows.length
}

export async function opened(agents) {
  let sum = 0
  for (const agent of agents) sum += (await agent.call('stats')).opened
  return sum
}
