// pglite_many.test.mjs - several processes and one PGlite: every row that was acknowledged is there.

import { PGlite } from '@electric-sql/pglite'
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { acknowledged, agentOf, ALL, databaseOf, everyRow, name, opened, sharedOf } from './database.mjs'
import { Agent, until } from './support.mjs'

const ROWS = 200

test('two processes insert in turns', async t => {
  const dataDir = await databaseOf(t)
  const agents = [await agentOf(t, dataDir), await agentOf(t, dataDir)]
  for (let n = 0; n < ROWS; n += 50)
    for (const [who, agent] of agents.entries()) await agent.call('insert', String(who), n, n + 50)
  assert.equal(await opened(agents), 8)
  for (const agent of agents) await agent.call('closeShared')
  assert.equal(await everyRow(dataDir, agents), 2 * ROWS)
})

test('two processes insert at random', async t => {
  const dataDir = await databaseOf(t)
  const agents = [await agentOf(t, dataDir), await agentOf(t, dataDir)]
  await Promise.all(agents.map((agent, who) => agent.call('insert', String(who), 0, ROWS, 4)))
  const reopened = await opened(agents)
  assert(reopened <= 2 * ROWS / 10, `${reopened} times opened for ${2 * ROWS} rows`)
  for (const agent of agents) await agent.call('closeShared')
  assert.equal(await everyRow(dataDir, agents), 2 * ROWS)
})

test('four processes insert at random, and one is killed in the middle', async t => {
  const dataDir = await databaseOf(t)
  const agents = []
  for (let i = 0; i < 4; i++) agents.push(await agentOf(t, dataDir))
  const [victim, ...others] = agents
  victim.call('insert', 'victim', 0, ROWS, 4).catch(() => {})
  const all = others.map((agent, who) => agent.call('insert', String(who), 0, ROWS, 4))
  await until('it has done a part', () => victim.said.length >= ROWS / 4)
  await victim.kill()
  await Promise.all(all)
  const reopened = await opened(others)
  assert(reopened <= 4 * ROWS / 10, `${reopened} times opened for ${3 * ROWS} rows and more`)
  for (const agent of others) await agent.call('closeShared')
  const rows = await everyRow(dataDir, agents, 1)
  assert(rows >= 3 * ROWS + ROWS / 4)
})

test('a writer that is killed in a transaction leaves nothing of it, and all that was before', async t => {
  const dataDir = await databaseOf(t)
  const victim = await agentOf(t, dataDir)
  await victim.call('insert', 'victim', 0, 20)
  victim.call('hang')
  await until('it hangs', () => victim.said.some(said => said.hangs))
  const shared = await sharedOf(t, dataDir)
  const rows = shared.query(ALL)
  await victim.kill()
  assert.deepEqual((await rows).rows.map(name).sort(), acknowledged([victim]).sort())
  assert.equal(shared.stats.recovered, 1)
})

test('who only reads sees every row that was acknowledged before', async t => {
  const dataDir = await databaseOf(t)
  const writers = [await agentOf(t, dataDir), await agentOf(t, dataDir)]
  const reader = await agentOf(t, dataDir)
  let writing = true
  const written = Promise.all(writers.map((agent, who) => agent.call('insert', String(who), 0, ROWS / 2, 4)))
    .finally(() => { writing = false })
  let reads = 0
  for (; writing || reads === 0; reads++) {
    const before = acknowledged(writers)
    const there = new Set((await reader.call('rows', ALL)).map(name))
    assert.deepEqual(before.filter(row => !there.has(row)), [], `read ${reads}`)
  }
  await written
  for (const agent of [...writers, reader]) await agent.call('closeShared')
  await everyRow(dataDir, writers)
})

test('clients come and go beside a server that stays', async t => {
  const dataDir = await databaseOf(t)
  const server = await agentOf(t, dataDir, { label: 'server' })
  const served = server.call('insert', 'server', 0, ROWS, 20)
  const clients = []
  for (let i = 0; i < 4; i++) {
    const client = await agentOf(t, dataDir, { label: 'client' })
    clients.push(client)
    const before = acknowledged([server, ...clients])
    const there = new Set((await client.call('rows', ALL)).map(name))
    assert.deepEqual(before.filter(row => !there.has(row)), [])
    await client.call('insert', `client ${i}`, 0, 5)
    if (i % 2 === 0) await client.call('closeShared')
    await client.call('exit') // with the database open, every second time
    assert.equal(await client.exited, 0)
  }
  await served
  const reopened = await opened([server])
  assert(reopened <= 20, `${reopened} times opened`)
  await server.call('closeShared')
  assert.equal(await everyRow(dataDir, [server, ...clients]), ROWS + 20)
})

// Why all this is needed. Each statement is under an exclusive lock, and rows are lost all the same.
test('a lock around each statement is not enough: rows are lost', async t => {
  const dataDir = await databaseOf(t)
  const agents = [new Agent(t), new Agent(t)]
  for (const agent of agents) await agent.call('naiveOpen', dataDir)
  for (let n = 0; n < 20; n++)
    for (const [who, agent] of agents.entries()) await agent.call('naiveInsert', String(who), n)
  for (const agent of agents) await agent.kill()
  assert.equal(acknowledged(agents).length, 40)
  let there = 0
  try {
    const database = await PGlite.create(dataDir)
    there = (await database.query(ALL)).rows.length
    await database.close()
  } catch { /* or the whole database */ }
  assert(there < 40, 'none was lost')
})
